"""Writes the fixtures that stand for what model hubs hold: pickled weights, vocab.txt, tokenizer.model.

usage: python tests/python/hub_folders.py ROOT        (torch, transformers and sentencepiece from PyPI)

ROOT is the root of the repository. Made with torch 2.0.1, transformers 4.57.6, sentencepiece 0.2.3.
"""

import json
import os
import pathlib
import random
import shutil
import sys
from collections import OrderedDict

import sentencepiece
import torch
from transformers import BertTokenizer, BertTokenizerFast

ROOT = pathlib.Path(sys.argv[1])
WEIGHTS = ROOT / "crates/weights/tests/fixtures"
TEXT = ROOT / "crates/text/tests/fixtures"
FOLDERS = ROOT / "crates/cli/tests/fixtures/hub"


class Attack:
    """What a pickle can do when it is trusted."""

    def __reduce__(self):
        return os.system, ("echo attacked",)


class Model(torch.nn.Module):
    """Its state has `_metadata`, as that of every model."""

    def __init__(self):
        super().__init__()
        self.dense = torch.nn.Linear(3, 2)
        self.register_buffer("steps", torch.tensor(7))


def both(folder, name, state):
    torch.save(state, folder / f"{name}.zip.bin")
    torch.save(state, folder / f"{name}.legacy.bin", _use_new_zipfile_serialization=False)


def every_form():
    state = Model().state_dict()
    table = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 8
    state["whole"] = table
    state["transposed"] = table.t()
    state["part"] = table[1:3, 2:5]
    state["stepped"] = table[:, ::2]
    state["cube"] = table.reshape(2, 3, 4).permute(2, 0, 1)
    state["parameter"] = torch.nn.Parameter(torch.tensor([0.5, -0.25]))
    state["double"] = torch.tensor([1e-300, 2.0], dtype=torch.float64)
    state["half"] = torch.tensor([1.5, -65504.0], dtype=torch.float16)
    state["brain"] = torch.tensor([1.5, -3e38], dtype=torch.bfloat16)
    state["ids"] = torch.arange(5)[None]
    state["scalar"] = torch.tensor(3.5)
    state["empty"] = torch.zeros(0, 4)
    return state


def weights():
    shutil.rmtree(WEIGHTS, ignore_errors=True)
    WEIGHTS.mkdir(parents=True)
    torch.manual_seed(1)
    state = every_form()
    both(WEIGHTS, "forms", state)
    expected = {n: {"dims": list(t.shape), "values": t.double().flatten().tolist()} for n, t in state.items()}
    (WEIGHTS / "forms.json").write_text(json.dumps(expected) + "\n")
    both(WEIGHTS, "attack", {"weight": torch.zeros(1), "x": Attack()})
    both(WEIGHTS, "nested", {"epoch": 3, "state_dict": {"weight": torch.zeros(1)}})
    torch.save({"weight": torch.zeros(1).expand(1000)}, WEIGHTS / "expanded.bin")
    torch.save({"weight": torch.zeros(2, dtype=torch.complex64)}, WEIGHTS / "complex.bin")
    folder = WEIGHTS / "sharded"
    folder.mkdir()
    shards(folder, [{"a.weight": torch.ones(2, 2)}, {"b.weight": torch.full((3,), 2.0, dtype=torch.float16)}])


def shards(folder, parts):
    where = {}
    for i, part in enumerate(parts, 1):
        file = f"pytorch_model-{i:05}-of-{len(parts):05}.bin"
        torch.save(part, folder / file)
        where.update({name: file for name in part})
    size = sum(t.numel() * t.element_size() for part in parts for t in part.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")


# Clinical spellings, accents, other scripts, numbers, spaces and line ends, long and unknown words.
TEXTS = [
    "The patient was admitted with chest pain.",
    "Pt. [**Name 12**] is a 67 y/o M w/ CHF (EF 25%); BP 142/88, K+ 3.4 mEq/L",
    "naïve café Ménière's Sjögren ÀÉÎÕÜ Straße İstanbul Ångström ﬁbrosis",
    "e\u0301 decomposed o\u0308 and composed é ö",
    "病人 has 發燒 and 咳嗽 38.5°C 한국어 ひらがな カタカナ",
    "1234567890 3.14159 1,000,000 0x1F",
    "x" * 99 + " " + "y" * 100 + " " + "z" * 101,
    "patientpatientadmitted unaffordable UNAFFORDABLE",
    "emoji 🙂👩‍⚕️ and ∑∞≠ μg ½ № ™",
    "  two  spaces   three \t tab\n\nlines\r\n end  ",
    "zero\u200bwidth soft\u00adhyphen nbsp\u00a0here \ufeffbom control\x07bell \ufffd nul\x00end",
    "don't -- stop... \"quoted\" (nested [brackets]) {a_b} #5 $10 ~ ^ ` |",
    "____ ===== ***** -----+++++ ....................",
    "\u0915\u094d\u0937 Привет МИР Ёлка ΑΣΟΦΟΣ שלום مرحبا ไทย",
    "𝟙𝟚 𝓪𝓫𝓬 ａｂｃ Ⅷ ǅ ß ẞ",
    "",
    " ",
    "a",
    "▁ already marked ▁▁text",
    "<unk> <0x0A> <0x41> unknown",
    "\n",
    "line one\nline two\n\n\nline five\t\tx",
]
DECOMPOSED = TEXTS[3:4]
ALPHABET = list("abcdefgh  xX=-.019\n▁éß病🙂") + ["the ", "patient", "==", "00", "  "]


def mixed(count, seed):
    draw = random.Random(seed)
    return ["".join(draw.choices(ALPHABET, k=draw.randrange(1, 24))) for _ in range(count)]


def corpus():
    words = "the patient was admitted with chest pain and fever no acute distress blood pressure stable".split()
    draw = random.Random(5)
    lines = [" ".join(draw.choices(words, k=12)) for _ in range(200)]
    return lines + ["BP 142/88\tK+ 3.4 mEq/L", "== Plan ==  ----", "café Ménière é", "x  y   z    w ====== ---"] * 20


def unique(tokens):
    """The last of equal tokens stays, the others become names that no text has."""
    last = {token: line for line, token in enumerate(tokens)}
    names = (f"[again{n}]" for n in range(1, len(tokens) + 1))
    return [token if last[token] == line else next(names) for line, token in enumerate(tokens)]


def word_piece(folder, lower, written):
    folder.mkdir(parents=True)
    # Several tokens are spelled as white space or letters with accents would be.
    pieces = "the patient was admitted with chest pain un ##afford ##able ##s don ' t - . , / ( ) [ ] * % + = _ # $ { }"
    pieces += " naive cafe naïve café mal ##ade 病 人 發 38 ##5 5 3 12 67 y o m bp BP Pt pt ° c C K k two spaces three tab"
    pieces += " lines end zero ##width soft ##hyphen strasse straße istanbul i ##stanbul ΑΣΟΦΟΣ ασοφος привет мир м Привет"
    pieces += " ##patient 🙂 μ ##g ½ e é ö o x ##x y ##y a ##bc ａ patient"
    letters = [p for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" for p in (c, "##" + c)]
    unused = [f"[unused{i}]" for i in range(3)]
    tokens = unique(["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces.split(), *letters])
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    if written is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(written) + "\n")
    slow = BertTokenizer.from_pretrained(folder)
    fast = BertTokenizerFast.from_pretrained(folder)
    assert slow.do_lower_case == lower
    rows = []
    for text in TEXTS + mixed(60, 3):
        ids = fast.encode(text)
        # The older class composes accents first. `AutoTokenizer` gives the newer one.
        assert ids == slow.encode(text) or text in DECOMPOSED, text
        rows.append({"text": text, "ids": ids})
    (folder / "ids.json").write_text(json.dumps(rows) + "\n")


def sentence_piece(folder, name="tokenizer.model", **options):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    settings = dict(
        model_type="bpe", vocab_size=420, byte_fallback=True, character_coverage=0.9995, split_digits=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
        max_sentence_length=4192, num_threads=1, minloglevel=2,
    )
    settings.update(options)
    lines = corpus()
    with open(path, "wb") as out:
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=out, **settings)
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def text():
    shutil.rmtree(TEXT, ignore_errors=True)
    word_piece(TEXT / "bert_uncased", True, None)
    word_piece(TEXT / "bert_cased", False, {"do_lower_case": False})
    word_piece(TEXT / "bert_accents", True, {"do_lower_case": True, "strip_accents": False})
    folder = TEXT / "llama"
    real = sentence_piece(folder)
    rows = [{"text": t, "ids": real.encode(t)} for t in TEXTS + mixed(200, 4) if "\0" not in t]
    (folder / "ids.json").write_text(json.dumps(rows) + "\n")
    sentence_piece(TEXT, "unigram.model", model_type="unigram", vocab_size=315)


def old_bert(folder):
    """As the converter of 2019 wrote: legacy form, `gamma` and `beta`, the heads of pre-training."""
    folder.mkdir(parents=True)
    shutil.copy(TEXT / "bert_uncased/vocab.txt", folder)
    v, d, inner, positions = len((folder / "vocab.txt").read_text().splitlines()), 8, 16, 32
    config = {
        "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": d,
        "initializer_range": 0.02, "intermediate_size": inner, "max_position_embeddings": positions,
        "num_attention_heads": 2, "num_hidden_layers": 1, "type_vocab_size": 2, "vocab_size": v, "model_type": "bert",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    state = OrderedDict()

    def put(name, *dims):
        state[name] = torch.randn(dims) * 0.02

    def norm(name):
        state[name + ".gamma"], state[name + ".beta"] = torch.randn(d), torch.randn(d)

    def linear(name, outputs, inputs):
        put(name + ".weight", outputs, inputs)
        put(name + ".bias", outputs)

    root = "bert.embeddings."
    state[root + "position_ids"] = torch.arange(positions)[None]
    for table, rows in [("word", v), ("position", positions), ("token_type", 2)]:
        put(root + table + "_embeddings.weight", rows, d)
    norm(root + "LayerNorm")
    layer = "bert.encoder.layer.0."
    for part in ["query", "key", "value"]:
        linear(layer + "attention.self." + part, d, d)
    linear(layer + "attention.output.dense", d, d)
    norm(layer + "attention.output.LayerNorm")
    linear(layer + "intermediate.dense", inner, d)
    linear(layer + "output.dense", d, inner)
    norm(layer + "output.LayerNorm")
    linear("bert.pooler.dense", d, d)
    put("cls.predictions.bias", v)
    linear("cls.predictions.transform.dense", d, d)
    norm("cls.predictions.transform.LayerNorm")
    state["cls.predictions.decoder.weight"] = state[root + "word_embeddings.weight"]
    linear("cls.seq_relationship", 2, d)
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def old_llama(folder):
    """As the first converted LLaMA folders: two shards of f16 with a buffer of rotary frequencies, `tokenizer.model`."""
    folder.mkdir(parents=True)
    shutil.copy(TEXT / "llama/tokenizer.model", folder)
    v, d, inner = 420, 8, 16
    config = {
        "model_type": "llama", "vocab_size": v, "hidden_size": d, "intermediate_size": inner, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 32, "rms_norm_eps": 1e-6, "hidden_act": "silu",
        "torch_dtype": "float16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")

    def matrix(*dims):
        return (torch.randn(dims) * 0.02).half()

    layer = "model.layers.0."
    first = {"model.embed_tokens.weight": matrix(v, d)}
    for part in "qkvo":
        first[f"{layer}self_attn.{part}_proj.weight"] = matrix(d, d)
    first[layer + "self_attn.rotary_emb.inv_freq"] = torch.tensor([1.0, 0.01])
    second = {
        layer + "mlp.gate_proj.weight": matrix(inner, d),
        layer + "mlp.up_proj.weight": matrix(inner, d),
        layer + "mlp.down_proj.weight": matrix(d, inner),
        layer + "input_layernorm.weight": torch.ones(d).half(),
        layer + "post_attention_layernorm.weight": torch.ones(d).half(),
        "model.norm.weight": torch.ones(d).half(),
        "lm_head.weight": matrix(v, d),
    }
    shards(folder, [first, second])


weights()
text()
shutil.rmtree(FOLDERS, ignore_errors=True)
torch.manual_seed(2)
old_bert(FOLDERS / "bert")
old_llama(FOLDERS / "llama")
