"""What torch, transformers and peft do on the same machine with the same model folder: one JSON line on stdout.

  baseline.py step --model DIR --task causal|classification --lengths 128,128,128,128 --precision f32|bf16
                   [--compile] [--checkpointing] [--steps N]
  baseline.py products --precision f32|bf16 --shapes 512x2048x2048,...

A step is forward, backward and AdamW of a LoRA (r 16 on q_proj and v_proj). Sequences shorter than the longest are padded,
as that library pads; only real tokens are counted. Peak memory is the high-water mark of the whole process.
"""

import argparse
import json
import os
import statistics
import time

START = float(os.environ.get("BENCH_START", time.time()))


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["step", "products"])
    parser.add_argument("--model")
    parser.add_argument("--task", default="causal", choices=["causal", "classification"])
    parser.add_argument("--lengths", default="128,128,128,128")
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shapes", default="")
    return parser.parse_args()


def timed(body, repeats, seconds):
    """Seconds of each call, at least three, after one that is not counted."""
    body()
    times, begin = [], time.perf_counter()
    while len(times) < 3 or (len(times) < repeats and time.perf_counter() - begin < seconds):
        start = time.perf_counter()
        body()
        times.append(time.perf_counter() - start)
    return times


def peak_bytes():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return None


def step(options):
    import peft
    import torch
    import transformers

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    causal = options.task == "causal"
    kind = transformers.LlamaForCausalLM if causal else transformers.LlamaForSequenceClassification
    extra = {} if causal else {"num_labels": 4, "pad_token_id": 0}
    model = kind.from_pretrained(options.model, dtype=dtype, use_cache=False, attn_implementation="sdpa", **extra)
    task = peft.TaskType.CAUSAL_LM if causal else peft.TaskType.SEQ_CLS
    lora = peft.LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=["q_proj", "v_proj"], task_type=task)
    model = peft.get_peft_model(model, lora)
    if options.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    lengths = [int(n) for n in options.lengths.split(",")]
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, model.config.vocab_size, (len(lengths), max(lengths)), generator=generator)
    mask = torch.ones_like(ids)
    for row, length in enumerate(lengths):
        mask[row, length:] = 0
        ids[row, length:] = 0
    labels = ids.masked_fill(mask == 0, -100) if causal else torch.arange(len(lengths)) % 4
    inputs = {"input_ids": ids, "attention_mask": mask}
    run = torch.compile(model) if options.compile else model

    def train():
        loss = run(**inputs, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    model.train()
    loss = train()
    first = time.time() - START
    times = timed(train, options.steps, options.seconds)
    peak = peak_bytes()
    model.eval()

    def evaluate():
        with torch.inference_mode():
            run(**inputs).logits

    evaluations = timed(evaluate, options.steps, options.seconds / 2)
    return {
        "loss": loss,
        "tokens": sum(lengths),
        "step_seconds": times,
        "evaluation_seconds": evaluations,
        "first_step_after_seconds": first,
        "peak_bytes": peak,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
    }


def products(options):
    import torch

    torch.set_num_threads(options.threads)
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    found = {}
    for shape in options.shapes.split(","):
        m, k, n = (int(x) for x in shape.split("x"))
        x = torch.randn(m, k).to(dtype)
        weight = torch.randn(n, k).to(dtype)
        with torch.inference_mode():
            times = timed(lambda: torch.nn.functional.linear(x, weight), options.steps, options.seconds)
        found[shape] = 2 * m * k * n / statistics.median(times) * 1e-9
    return {"gflops": found, "versions": {"torch": torch.__version__}}


def main():
    options = arguments()
    print(json.dumps(step(options) if options.what == "step" else products(options)), flush=True)


if __name__ == "__main__":
    main()
