"""Loads what we saved with the reference, and prints the largest difference of the logits for each adapter.

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


def main(root):
    failed = False
    for folder in sorted(root.iterdir()):
        if not (folder / "adapter_config.json").is_file():
            continue
        base = transformers.LlamaForCausalLM.from_pretrained(root / "model", dtype=torch.float32)
        model = peft.PeftModel.from_pretrained(base, folder).eval()
        saved = load_file(folder / "logits.safetensors")
        with torch.no_grad():
            logits = model(input_ids=saved["input_ids"].long()).logits[0]
        difference = (logits - saved["logits"]).abs().max().item()
        scale = logits.abs().max().item()
        good = difference <= 2e-5 * scale
        failed |= not good
        print(f"{'pass' if good else 'FAIL'}  {folder.name:<20} {difference:.3e} of {scale:.3e}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
