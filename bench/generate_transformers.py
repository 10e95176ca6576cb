"""The other side of bench.generate: transformers in bf16, as a worker that answers requests over its pipes.

Runs under the peer's own Python and imports nothing of openbook. A request is a line {"prompt": s, "tokens": n}; the
answer {"prompt_tokens": n, "answer_tokens": n, "prefill": s, "decode": s, "text": s}. The decoding loop is written out
because model.generate() costs a millisecond or two a token beyond the model.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main(weights: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    path = Path(weights)
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.bfloat16).eval()
    end = model.generation_config.eos_token_id
    ends = set(end if isinstance(end, list) else [end])
    say({"ready": True, "torch": torch.__version__, "threads": torch.get_num_threads()})
    for line in sys.stdin:
        request = json.loads(line)
        ids = torch.tensor([tokenizer(request["prompt"], add_special_tokens=False).input_ids])
        said: list[int] = []
        with torch.inference_mode():
            start = time.perf_counter()
            out = model(ids, use_cache=True, logits_to_keep=1)
            said.append(int(out.logits[0, -1].argmax()))
            first = last = time.perf_counter()
            while len(said) < request["tokens"] and said[-1] not in ends:
                out = model(torch.tensor([[said[-1]]]), past_key_values=out.past_key_values, use_cache=True)
                said.append(int(out.logits[0, -1].argmax()))
                last = time.perf_counter()
        answer = {"prompt_tokens": ids.shape[1], "answer_tokens": len(said), "prefill": first - start}
        say({**answer, "decode": last - first, "text": tokenizer.decode(said, skip_special_tokens=True)})


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
