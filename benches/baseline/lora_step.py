"""The steps of `device-bench` with torch, transformers and peft: same shapes, same tokens, random weights, bf16, LoRA r = 16 on
query and value, AdamW, checkpointed layers. Prints one JSON object.

usage: python3 lora_step.py [--shape 1b|7b] [--length 512] [--batch 1] [--steps 5] [--peak 989] [--keep]
"""

import argparse
import json
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

SHAPES = {
    "tiny": dict(vocab_size=512, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                 intermediate_size=176),
    "1b": dict(vocab_size=128256, hidden_size=2048, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8,
               intermediate_size=8192),
    "7b": dict(vocab_size=32000, hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=32,
               intermediate_size=11008),
}


def work(config, length, batch):
    """As in device-bench: frozen products forward and for their input's gradient, causal attention forward and backward."""
    d, tokens = config.hidden_size, length * batch
    narrow = d // config.num_attention_heads * config.num_key_value_heads
    layer = 2 * d * d + 2 * d * narrow + 3 * d * config.intermediate_size
    products = 4 * tokens * (config.num_hidden_layers * layer + d * config.vocab_size)
    return products + 3 * 2 * tokens * length * d * config.num_hidden_layers


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", default="7b", choices=SHAPES)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--peak", type=float, default=989.0)
    parser.add_argument("--keep", action="store_true")
    o = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    begun = time.time()
    config = LlamaConfig(**SHAPES[o.shape], max_position_embeddings=o.length, attn_implementation="sdpa")
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    if not o.keep:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"]))
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.0)
    ids = (torch.arange(o.length, device=device) * 7919 % config.vocab_size).repeat(o.batch, 1)

    def step():
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    step()
    first, begun = time.time() - begun, time.time()
    for _ in range(o.steps):
        loss = step()
    seconds = (time.time() - begun) / o.steps
    tokens = o.length * o.batch
    print(json.dumps({
        "what": "lora step", "device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "shape": o.shape,
        "sequence": o.length, "batch": o.batch, "seconds": seconds, "tokens_per_second": tokens / seconds,
        "mfu": work(config, o.length, o.batch) / seconds / (o.peak * 1e12),
        "memory_mib": torch.cuda.max_memory_reserved() >> 20 if device == "cuda" else None,
        "seconds_to_first_step": first, "loss": loss, "torch": torch.__version__,
    }))


main()
