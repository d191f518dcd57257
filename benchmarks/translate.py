"""English to German on Multi30k (Elliott et al. 2016): BLEU against minutes.

Trained on the 29,000 pairs of the task alone, with byte pairs learnt from them; the 1,014 pairs of validation are
reported on as it goes, and nothing is chosen by test_2016_flickr, whose 1,000 sentences are translated at the
end. BLEU is sacreBLEU's on plain, detokenised text, with its signature. Published for text alone on this
test set: 41.0 for a Transformer of 128 numbers and 4 layers, of tokenised text (Wu et al. 2021).

    ISTHMUS_DATA=/path/to/data python benchmarks/translate.py --minutes 120 --kind transformer|rnn [--threads 2]

It writes ``benchmarks/results/translate.json`` as it goes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import sacrebleu
import torch
from timed import CLOCKS, Timed

from isthmus import Cosine, RNNDecoder, RNNEncoder, Seq2Seq, TransformerDecoder, TransformerEncoder, WeightAverage


def load(part: str) -> tuple[list[str], list[str]]:
    """English and German sentences."""
    sides = []
    for language in ("en", "de"):
        path = Path(os.environ["ISTHMUS_DATA"]) / "multi30k" / f"{part}.{language}.gz"
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            sides.append([line.strip() for line in lines])
    return sides[0], sides[1]


def network(options: argparse.Namespace) -> dict[str, Any]:
    """Encoder and decoder."""
    if options.kind == "transformer":
        size = {
            "d_model": options.width,
            "num_heads": 4,
            "num_layers": options.layers,
            "feedforward": 2 * options.width,
            "dropout": options.dropout,
        }
        return {"encoder": TransformerEncoder(**size), "decoder": TransformerDecoder(**size)}
    return {
        "encoder": RNNEncoder(options.width, 1, pool=None, dropout=options.dropout),
        "decoder": RNNDecoder(options.width, 1, attention="additive", dropout=options.dropout),
    }


def bleu(found: list[str], references: list[str]) -> tuple[float, str]:
    """And its signature."""
    metric = sacrebleu.BLEU()
    score = metric.corpus_score(found, [references]).score
    return float(score), str(metric.get_signature())


def translated(model: Seq2Seq, sources: list[str], references: list[str], beam_size: int) -> dict[str, Any]:
    """BLEU with so many beams, and what it took."""
    started = time.perf_counter()
    found = model.predict(sources, beam_size=beam_size)
    seconds = time.perf_counter() - started
    score, signature = bleu(found, references)
    return {"bleu": score, "signature": signature, "sentences_a_second": len(sources) / seconds, "first": found[:5]}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120, help="training time")
    parser.add_argument("--every", type=float, default=10, help="minutes between reports")
    parser.add_argument("--kind", choices=["rnn", "transformer"], default="transformer")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--vocabulary", type=int, default=6000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--warm-up", type=float, default=0.1, help="share of the training in which the rate rises")
    parser.add_argument("--tokens", type=int, default=2048, help="of a batch")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the last report's epoch")
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/translate.pt"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/translate.json"))
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    torch.set_num_threads(options.threads)
    train, choose, test = (load(part) for part in ("train", "val", "test_2016_flickr"))
    average = WeightAverage(decay=0.7)
    model = Seq2Seq(
        **network(options),
        tokenizer="bpe",
        vocabulary_size=options.vocabulary,
        learning_rate=options.learning_rate,
        schedule=Cosine(floor=0.01, warmup=options.warm_up),
        batch_tokens=options.tokens,
        max_epochs=10**6,
        precision=options.precision,
        validation_fraction=0,
        random_state=options.seed,
    )

    def measure() -> dict[str, float]:
        return {"bleu_validation": bleu(model.predict(choose[0]), choose[1])[0]}

    timed = Timed(options.minutes, options.every, average, measure, options.checkpoint, options.resume, options.clock)
    model.set_params(callbacks=[average, timed])
    model.fit(*train)
    result = {
        "setting": f"width {options.width}, {options.vocabulary:,} byte pairs a side, dropout {options.dropout:g}, "
        f"{options.tokens:,} positions a batch, Adam {options.learning_rate:g}, label smoothing 0.1",
        "parameters": sum(p.numel() for p in model.module_.parameters()),
        "threads": options.threads,
        "clock": options.clock,
        "precision": options.precision,
        "training_minutes": timed.spent / 60,
        "epochs": model.n_iter_,
        **{f"beam {size}": translated(model, *test, size) for size in (1, 5)},
        "references": test[1][:5],
        "curve": timed.curve,
    }
    whole = json.loads(options.out.read_text()) if options.out.exists() else {}
    whole[f"{options.kind}, {options.minutes:g} min"] = result
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(whole, indent=1, ensure_ascii=False))
    print(json.dumps({key: value for key, value in result.items() if key != "curve"}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
