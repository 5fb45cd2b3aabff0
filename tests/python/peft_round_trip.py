"""Loads what we saved with the reference, and prints the largest difference of the logits for each adapter and stack.

    cargo test -p clinpeft-experiment --test round_trip
    python tests/python/peft_round_trip.py target/tmp/peft_round_trip

Needs torch, transformers, peft and safetensors. Exit status 1 if a difference is above 2e-5 of the largest logit.
"""

import pathlib
import sys

import peft
import torch
import transformers
from safetensors.torch import load_file


def alone(root, folder):
    base = transformers.LlamaForCausalLM.from_pretrained(root / "model", dtype=torch.float32)
    return peft.PeftModel.from_pretrained(base, folder).eval()


def stacked(root, folder):
    """Both adapters at once, with the head that stands beside the second."""
    head = load_file(folder / "downstream" / "adapter_model.safetensors")["base_model.model.score.weight"]
    base = transformers.LlamaForSequenceClassification.from_pretrained(
        root / "model", dtype=torch.float32, num_labels=head.shape[0]
    )
    model = peft.PeftModel.from_pretrained(base, folder / "clinical", adapter_name="clinical")
    model.load_adapter(folder / "downstream", adapter_name="downstream")
    # Not through the model: it refuses several adapters at once where one of them holds a head.
    for module in model.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            module.set_adapter(["clinical", "downstream"])
    model.base_model.model.score.set_adapter("downstream")
    return model.eval()


def main(root):
    failed, checked = False, 0
    stacks = root.with_name(root.name + "_stacks")
    for load, home, mark in [(alone, root, "adapter_config.json"), (stacked, stacks, "stack.json")]:
        for folder in sorted(f for f in home.iterdir() if (f / mark).is_file()):
            model = load(home, folder)
            saved = load_file(folder / "logits.safetensors")
            with torch.no_grad():
                logits = model(input_ids=saved["input_ids"].long()).logits
            logits = logits[0] if load is alone else logits
            difference = (logits - saved["logits"]).abs().max().item()
            scale = logits.abs().max().item()
            good = difference <= 2e-5 * scale
            failed |= not good
            checked += 1
            print(f"{'pass' if good else 'FAIL'}  {folder.name:<20} {difference:.3e} of {scale:.3e}")
    return int(failed or checked == 0)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
