"""A sentence VAE on Multi30k's English: does the latent say anything, and does it cost anything?

Every model has the same GRU decoder and byte pairs; they differ in the latent and in what keeps it from being
ignored (Bowman et al. 2016): KL warm-up, word dropout, free bits. "no latent" is the same decoder after a constant.
Figures are of the 1,000 sentences of test_2016_flickr: the KL in nats a sentence, −log p(sentence) in nats a word
(a sentence's words and its end; byte pairs are summed) by importance sampling from the posterior, and the same with
each sentence read from its neighbour's z.

    ISTHMUS_DATA=/path/to/data python benchmarks/sentences.py --minutes 10 [--threads 1 --clock cpu] [--runs plain]

It writes ``benchmarks/results/sentences.json`` after each run and skips the runs that stand there; interpolations
between two sentences and samples are printed and kept.
"""

from __future__ import annotations

import argparse
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timed import CLOCKS, Timed, run_each

from isthmus import (
    Cosine,
    RNNDecoder,
    RNNEncoder,
    Seq2Seq,
    VariationalAutoencoder,
    WeightAverage,
    WeightSchedule,
)
from isthmus.text import TextTokenizer

RUNS: dict[str, dict[str, float]] = {
    "no latent": {},
    "plain": {},
    "warm-up": {"warm_up": 1},
    "word dropout": {"word_dropout": 0.3},
    "free bits": {"free_bits": 0.25},
    "free bits and warm-up": {"free_bits": 0.25, "warm_up": 1},
}
"""Of the KL's weight, the share of words hidden, nats a unit that cost nothing."""
PAIR = ("a man in a blue shirt is standing on a ladder cleaning a window .", "two dogs are playing in the snow .")


def load(name: str) -> list[str]:
    """Sentences in small letters."""
    path = Path(os.environ["ISTHMUS_DATA"]) / "multi30k" / f"{name}.en.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [line.strip().lower() for line in lines]


def decoder(options: argparse.Namespace, word_dropout: float = 0.0) -> RNNDecoder:
    """The same in every run."""
    return RNNDecoder(options.hidden, dropout=0.2, word_dropout=word_dropout, repeat_latent=True)


def words(texts: list[str]) -> int:
    """With the end of each."""
    return sum(len(text.split()) + 1 for text in texts)


def callbacks(options: argparse.Namespace, name: str, *more: Any) -> tuple[list[Any], Timed]:
    """The clock of one run, and the average of its weights, which is what is scored."""
    average = WeightAverage(decay=0.5)
    checkpoint = Path(f"runs/sentences-{name.replace(' ', '-')}.pt")
    clock = Timed(options.minutes, 5, average, dict, checkpoint, options.resume, options.clock)
    return [*more, average, clock], clock


def shared(options: argparse.Namespace, tokenizer: TextTokenizer) -> dict[str, Any]:
    """Parameters of every run."""
    return {
        "tokenizer": tokenizer,
        "learning_rate": options.rate,
        "schedule": Cosine(floor=0.01),
        "clip_norm": 5.0,
        "batch_size": options.batch,
        "max_epochs": 10**6,
        "validation_fraction": 0,
        "random_state": options.seed,
    }


def run_plain(options: argparse.Namespace, tokenizer: TextTokenizer) -> dict[str, Any]:
    """The decoder as a language model: its latent is what one empty source gives."""
    train, test = load("train"), load("test_2016_flickr")
    added, clock = callbacks(options, "no latent")
    model = Seq2Seq(
        encoder=RNNEncoder(options.latent // 2),
        decoder=decoder(options),
        loss="cross_entropy",
        callbacks=added,
        **shared(options, tokenizer),
    ).fit([""] * len(train), train)
    scores = model.score_samples([""] * len(test), test)
    return {"nats_a_word": -float(scores.sum()) / words(test), "epochs": model.n_iter_, "minutes": clock.spent / 60}


def run_vae(options: argparse.Namespace, tokenizer: TextTokenizer, name: str) -> dict[str, Any]:
    """With a latent."""
    train, test, given = load("train"), load("test_2016_flickr"), RUNS[name]
    warm_up = [WeightSchedule(epochs=options.warm_up)] if given.get("warm_up") else []
    added, clock = callbacks(options, name, *warm_up)
    model = VariationalAutoencoder(
        latent_dim=options.latent,
        encoder=RNNEncoder(options.hidden // 2),
        decoder=decoder(options, given.get("word_dropout", 0.0)),
        free_bits=given.get("free_bits", 0.0),
        callbacks=added,
        **shared(options, tokenizer),
    ).fit(train)
    mean, deviation = model.posterior(test)
    kl = 0.5 * (mean**2 + deviation**2 - 2 * np.log(deviation) - 1).sum(1)
    likelihood = model.log_likelihood(test, options.samples)
    swapped = given_codes(model, test, np.roll(mean, 1, 0))
    return {
        "nats_a_word": -float(likelihood.sum()) / words(test),
        "negative_elbo_a_word": -float(model.elbo(test, 10).sum()) / words(test),
        "kl": float(kl.mean()),
        "nats_a_word_own_code": -float(given_codes(model, test, mean).sum()) / words(test),
        "nats_a_word_swapped": -float(swapped.sum()) / words(test),
        "importance_samples": options.samples,
        "epochs": model.n_iter_,
        "minutes": clock.spent / 60,
        "between": model.interpolate(*PAIR, steps=7),
        "samples": model.sample(5, random_state=0),
    }


def given_codes(model: VariationalAutoencoder, texts: list[str], codes: np.ndarray) -> np.ndarray:
    """log p(text | z) of each text and code, nats."""
    line, found = model.module_, np.empty(len(texts))
    with torch.no_grad():
        for batch, index in model._chunks(model._read(texts), 256):
            z = torch.from_numpy(codes[index.numpy()])
            z = torch.cat([z, z[-1:].expand(len(batch.x) - len(z), -1)])
            latent = line.encode(batch, noise=torch.zeros_like)[2]._replace(z=z)
            target, mask, teacher = line._goal(batch, 1, scaled=False)
            loss = line.loss(line.decode(latent, teacher), target, mask)
            found[index.numpy()] = -loss[: len(index)].double().numpy()
    return found


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="of training a run")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--latent", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--warm-up", type=int, default=3, help="epochs")
    parser.add_argument("--vocabulary", type=int, default=3000)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--resume", action="store_true", help="go on from the last report's epoch")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sentences.json"))
    options = parser.parse_args(given)
    torch.set_num_threads(options.threads)
    tokenizer = TextTokenizer("bpe", options.vocabulary).fit(load("train"))

    def run(name: str) -> dict[str, Any]:
        found = run_plain(options, tokenizer) if name == "no latent" else run_vae(options, tokenizer, name)
        return {**found, "clock": options.clock, "threads": options.threads}

    run_each(options.out, options.runs, run)


if __name__ == "__main__":
    main()
