"""How fast sequence models are trained and decode, beside JoeyNMT and a hand-written loop.

The first sentences of Multi30k, cut into byte pairs once, so that all sides read the same numbers. One process,
the same allocator settings for all (glibc keeps freed memory), contestants in turn (A B … A B …), medians and
quartiles over the rounds, ratios taken round by round. A rate of training is real target tokens a second: an
end a sentence counts, padding does not.

* ``gru``: two directions of 256 read, 256 write, with additive attention, all 256 wide; no input feeding.
* ``transformer``: 256 wide, 4 heads, 1,024 within, 4 + 4 layers, ahead-normalised, tied.

On our side stands `fit`, in 32 bits and in bfloat16, which it takes by itself on a processor with AMX. The
hand-written loop is the best that we can write in plain PyTorch, in both, too: batches cut by length and tensors made
once, fused kernels, fused Adam, nothing read back in a step. JoeyNMT's side is the inner
loop of its `TrainManager` with its own loader; its batches are of as many positions, and not sorted by length.

Decoding: 50 sentences at once, `predict` on our side, `search` on JoeyNMT's, greedy and with 5 beams. "writing 16
pieces" has networks as they begin, so that nothing ends before the pieces that are allowed and all sides take as many
steps; "steps" is what the 15 after the first take, without reading the sources: 50 sentences a step. "translating"
has networks that went through the first 10,000 pairs once and 200 sentences of the test set, each until its own end,
at most half as long again as its source.

``step_ms``: one step of our Transformer at 50 rows after so many others, and the attention to them within it.

    ISTHMUS_DATA=/path/to/data python benchmarks/seq_speed.py --minutes 20 --threads 2

It writes ``benchmarks/results/seq_speed.json``. Where JoeyNMT does not import, it is left out with the reason.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from conv_speed import spread
from timed import CLOCKS, Epochs, machine
from torch import Tensor, nn
from torch.nn import functional as F
from translate import load

from isthmus import RNNDecoder, RNNEncoder, Seq2Seq, TransformerDecoder, TransformerEncoder
from isthmus.nn.attention import attended
from isthmus.text import TextTokenizer
from isthmus.training.allocator import keep_freed_memory
from isthmus.training.step_parts import matrix_peak
from isthmus.types import Bypass, Latent

WIDTH, HEADS, LAYERS, WITHIN, DROPOUT = 256, 4, 4, 1024, 0.1
POSITIONS, SMOOTHING, RATE = 2048, 0.1, 1e-3
AT_ONCE, STEPS, LEARNT, TRANSLATED = 50, 16, 10_000, 200
KINDS = ("gru", "transformer")

Ids = list[list[int]]
Decode = Callable[[int, int], Sequence[Any]]
"""With so many beams, at most so many pieces where nothing was learnt."""
Epoch = Callable[[], None]


class Corpus(NamedTuple):
    """Pieces as numbers, and how many different ones each side has."""

    sources: Ids
    targets: Ids
    sizes: tuple[int, int]

    @property
    def tokens(self) -> int:
        """Of the targets, an end each."""
        return sum(len(row) + 1 for row in self.targets)

    def first(self, n: int) -> Corpus:
        """So many pairs."""
        return self._replace(sources=self.sources[:n], targets=self.targets[:n])


def corpora() -> tuple[Corpus, Corpus]:
    """Pairs to train on and to translate, in byte pairs of the former."""
    tokenizers = [TextTokenizer("bpe", 6000).fit(texts) for texts in load("train")]
    sizes = (tokenizers[0].vocabulary_size, tokenizers[1].vocabulary_size)

    def of(part: str) -> Corpus:
        sides = (tokenizer.encode(texts) for tokenizer, texts in zip(tokenizers, load(part), strict=True))
        return Corpus(*sides, sizes)

    return of("train"), of("test_2016_flickr")


def written(rows: Ids) -> list[str]:
    """Numbers with spaces between."""
    return [" ".join(map(str, row)) for row in rows]


# ------------------------------------------------------------------ ours


class Numbers:
    """A tokenizer of texts that are numbers already."""

    def __init__(self, vocabulary_size: int) -> None:
        self.vocabulary_size = vocabulary_size

    def encode(self, texts: Sequence[str]) -> Ids:
        return [[int(number) for number in text.split()] for text in texts]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return written([list(row) for row in ids])


def parts(kind: str) -> dict[str, Any]:
    """Encoder and decoder."""
    if kind == "transformer":
        size = {"d_model": WIDTH, "num_heads": HEADS, "num_layers": LAYERS, "feedforward": WITHIN, "dropout": DROPOUT}
        return {"encoder": TransformerEncoder(**size), "decoder": TransformerDecoder(**size)}
    return {
        "encoder": RNNEncoder(WIDTH, pool=None, dropout=DROPOUT),
        "decoder": RNNDecoder(WIDTH, attention="additive", dropout=DROPOUT),
    }


def estimator(kind: str, data: Corpus, epochs: int, **more: Any) -> Seq2Seq:
    """Ours: constant rate, no validation."""
    return Seq2Seq(
        **parts(kind),
        tokenizer=tuple(Numbers(size) for size in data.sizes),
        schedule=None,
        batch_tokens=POSITIONS,
        max_epochs=epochs,
        validation_fraction=0,
        random_state=0,
        **{"learning_rate": RATE} | more,
    )


def train_ours(precision: str, kind: str, data: Corpus, epochs: int, clock: Callable[[], float]) -> list[float]:
    """Seconds of each epoch."""
    timer = Epochs(clock)
    model = estimator(kind, data, epochs, callbacks=[timer], precision=precision)
    model.fit(written(data.sources), written(data.targets))
    return timer.seconds


def decode_ours(kind: str, train: Corpus, test: Corpus, learn: bool) -> Decode:
    """`predict`, 50 sentences at a time."""
    rate = RATE if learn else 1e-9
    model = estimator(kind, train, 1, learning_rate=rate).fit(written(train.sources), written(train.targets))
    sources = written(test.sources)

    def decode(beams: int, steps: int) -> Sequence[Any]:
        found: list[str] = []
        for start in range(0, len(sources), AT_ONCE):
            longest = max(map(len, test.sources[start : start + AT_ONCE])) * 3 // 2 if learn else steps
            found += model.predict(sources[start : start + AT_ONCE], beam_size=beams, max_length=longest)
        return [text.split() for text in found]

    return decode


def step_times(data: Corpus, clock: Callable[[], float], repeats: int = 30) -> dict[str, dict[str, float]]:
    """ms of one step of the Transformer after so many others, and of the attention to them in its layers."""
    data = data.first(200)
    model = estimator("transformer", data, 1, learning_rate=1e-9)
    decoder = model.fit(written(data.sources), written(data.targets)).module_.decoder.eval()
    found = {}
    with torch.inference_mode():
        state = decoder.start(Latent(torch.randn(AT_ONCE, 12, WIDTH), Bypass()))
        previous = torch.zeros(AT_ONCE, dtype=torch.long)
        for length in range(256):
            again = partial(decoder.step, previous, state)
            if length + 1 in (32, 64, 128, 256):
                query = torch.randn(AT_ONCE, HEADS, 1, WIDTH // HEADS)
                kept = [cache.filled for cache in state.caches]
                alone = partial(lambda q, layers: [attended(q, *pair, None) for pair in layers], query, kept)
                found[str(length + 1)] = {
                    name: 1e3 * statistics.median(timed(clock, run)[0] for _ in range(repeats))
                    for name, run in (("step", again), ("attention", alone))
                }
            _, state = again()
    return found


# ------------------------------------------------------------------ by hand


def batches(data: Corpus) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Sources, lengths, targets between begin and end, batches of like length, as tensors, once."""
    begin, end = data.sizes[1], data.sizes[1] + 1
    order = sorted(range(len(data.sources)), key=lambda n: (len(data.sources[n]), len(data.targets[n])))
    made, some, longest = [], list[int](), 0
    for n in [*order, -1]:
        width = max(longest, len(data.sources[n]) + 1, len(data.targets[n]) + 1)
        if n < 0 or width * (len(some) + 1) > POSITIONS:
            sources = nn.utils.rnn.pad_sequence([torch.tensor(data.sources[k]) for k in some], True, data.sizes[0])
            rows = [torch.tensor([begin, *data.targets[k], end]) for k in some]
            lengths = torch.tensor([len(data.sources[k]) for k in some])
            made.append((sources, lengths, nn.utils.rnn.pad_sequence(rows, True, -100)))
            some, width = [], max(len(data.sources[n]) + 1, len(data.targets[n]) + 1)
        some.append(n)
        longest = width
    return made


class Attention(nn.Module):
    """Heads over PyTorch's fused kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key_value, self.out = (nn.Linear(WIDTH, n * WIDTH) for n in (1, 2, 1))

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        pieces = (self.query(x), *self.key_value(memory).chunk(2, -1))
        query, key, value = (piece.unflatten(-1, (HEADS, -1)).transpose(1, 2) for piece in pieces)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return self.out(found.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Norm and self-attention, norm and attention to the memory, norm and two maps."""

    def __init__(self, reads_memory: bool) -> None:
        super().__init__()
        self.own, self.other = Attention(), Attention() if reads_memory else None
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3 if reads_memory else 2))
        self.wide = nn.Sequential(nn.Linear(WIDTH, WITHIN), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(WITHIN, WIDTH))

    def forward(self, x: Tensor, own_mask: Tensor | None, memory: Tensor | None, mask: Tensor | None) -> Tensor:
        y = self.norms[0](x)
        x = x + F.dropout(self.own(y, y, own_mask, causal=memory is not None), DROPOUT, self.training)
        if self.other is not None and memory is not None:
            x = x + F.dropout(self.other(self.norms[1](x), memory, mask), DROPOUT, self.training)
        return x + F.dropout(self.wide(self.norms[-1](x)), DROPOUT, self.training)


class Transformer(nn.Module):
    """Sources and targets in, logits out; the end's weights are the targets' vectors."""

    def __init__(self, sizes: tuple[int, int]) -> None:
        super().__init__()
        self.source, self.target = (nn.Embedding(size + 2, WIDTH) for size in sizes)
        nn.init.normal_(self.source.weight, std=WIDTH**-0.5)
        nn.init.normal_(self.target.weight, std=WIDTH**-0.5)
        self.down, self.up = (nn.ModuleList(Layer(reads) for _ in range(LAYERS)) for reads in (False, True))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        angles = torch.arange(512)[:, None] * 1e4 ** (-torch.arange(0, WIDTH, 2) / WIDTH)
        self.register_buffer("where", torch.stack([angles.sin(), angles.cos()], -1).flatten(1))

    def read(self, table: nn.Embedding, ids: Tensor) -> Tensor:
        return F.dropout(table(ids) * WIDTH**0.5 + self.where[: ids.shape[1]], DROPOUT, self.training)

    def forward(self, sources: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        padded = int(lengths.min()) < sources.shape[1]
        mask = (torch.arange(sources.shape[1]) < lengths[:, None])[:, None, None] if padded else None
        x = self.read(self.source, sources)
        for layer in self.down:
            x = layer(x, mask, None, None)
        memory, y = self.norms[0](x), self.read(self.target, targets)
        for layer in self.up:
            y = layer(y, None, memory, mask)
        return F.linear(self.norms[1](y), self.target.weight)


class GRU(nn.Module):
    """Two directions, additive attention from the state after the step: all steps are one call."""

    def __init__(self, sizes: tuple[int, int]) -> None:
        super().__init__()
        self.source, self.target = (nn.Embedding(size + 2, WIDTH) for size in sizes)
        self.down = nn.GRU(WIDTH, WIDTH, batch_first=True, bidirectional=True)
        self.up = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.bridge, self.key = nn.Linear(2 * WIDTH, WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.query, self.score = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, 1, bias=False)
        self.joined, self.end = nn.Linear(3 * WIDTH, WIDTH), nn.Linear(WIDTH, sizes[1] + 2)

    def forward(self, sources: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        x = F.dropout(self.source(sources), DROPOUT, self.training)
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        memory, _ = nn.utils.rnn.pad_packed_sequence(self.down(packed)[0], batch_first=True)
        first = self.bridge(memory.sum(1) / lengths[:, None]).tanh()
        y, _ = self.up(F.dropout(self.target(targets), DROPOUT, self.training), first[None])
        scores = self.score((self.query(y)[:, :, None] + self.key(memory)[:, None]).tanh()).squeeze(-1)
        beyond = (torch.arange(sources.shape[1]) >= lengths[:, None])[:, None]
        context = scores.masked_fill(beyond, -torch.inf).softmax(-1) @ memory
        h = self.joined(torch.cat([context, y], -1)).tanh()
        return self.end(F.dropout(h, DROPOUT, self.training))


def train_by_hand(halved: bool, kind: str, data: Corpus, epochs: int, clock: Callable[[], float]) -> list[float]:
    """Seconds of each epoch."""
    model = (Transformer if kind == "transformer" else GRU)(data.sizes)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    resident = batches(data)

    def epoch() -> None:
        losses = []
        for n in torch.randperm(len(resident)).tolist():
            sources, lengths, targets = resident[n]
            with torch.autocast("cpu", torch.bfloat16, enabled=halved):
                logits = model(sources, lengths, targets[:, :-1].clamp(min=0))
            loss = F.cross_entropy(logits.flatten(0, 1).float(), targets[:, 1:].flatten(), label_smoothing=SMOOTHING)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        torch.stack(losses).mean().item()

    return [timed(clock, epoch)[0] for _ in range(epochs)]


# ------------------------------------------------------------------ JoeyNMT


def joey(kind: str, data: Corpus, test: Corpus, folder: Path) -> tuple[Epoch, Any, list[Any]]:
    """Its training of one epoch (the inner loop of `train_and_validate`, without logging), model, test batches."""
    from joeynmt.config import parse_global_args
    from joeynmt.prediction import prepare
    from joeynmt.training import TrainManager

    sides: list[dict[str, Any]] = []
    for language, *parts, size in zip(("en", "de"), data[:2], test[:2], data.sizes, strict=True):
        for part, rows in zip(("train", "dev"), parts, strict=True):
            (folder / f"{part}.{language}").write_text("\n".join(written(rows)) + "\n", encoding="utf-8")
        vocabulary = folder / f"vocabulary.{language}"
        vocabulary.write_text("\n".join(["<unk>", "<pad>", "<s>", "</s>", *map(str, range(size))]), encoding="utf-8")
        sides.append({"lang": language, "level": "word", "max_length": 10**4, "voc_file": str(vocabulary)})
    common = {"embeddings": {"embedding_dim": WIDTH, "scale": kind == "transformer"}, "hidden_size": WIDTH}
    own = (
        {"type": "transformer", "num_layers": LAYERS, "num_heads": HEADS, "ff_size": WITHIN, "layer_norm": "pre"}
        if kind == "transformer"
        else {"type": "recurrent", "rnn_type": "gru", "num_layers": 1}
    )
    ends = {"bidirectional": True}, {"attention": "bahdanau", "input_feeding": False, "hidden_dropout": DROPOUT}
    network = [common | own | {"dropout": DROPOUT} | (more if kind == "gru" else {}) for more in ends]
    settings = {
        "name": "speed",
        "use_cuda": False,
        "model_dir": str(folder),
        "data": {
            "train": str(folder / "train"),
            "dev": str(folder / "dev"),
            "src": sides[0],
            "trg": sides[1],
        },
        "training": {
            "optimizer": "adam",
            "learning_rate": RATE,
            "scheduling": "exponential",
            "batch_size": POSITIONS,
            "batch_type": "token",
            "normalization": "tokens",
            "label_smoothing": SMOOTHING,
        },
        "testing": {},
        "model": {
            "initializer": "xavier_uniform",
            "tied_softmax": kind == "transformer",
            "encoder": network[0],
            "decoder": network[1],
        },
    }
    args = parse_global_args(settings, rank=0, mode="train")
    model, train, dev, _ = prepare(args, rank=0, mode="train")
    trainer = TrainManager(
        rank=0,
        model=model,
        model_dir=folder,
        device=args.device,
        autocast=args.autocast,
        train_args=args.train,
        dev_args=args.test,
    )

    def epoch() -> None:
        model.train()
        for batch in train.make_iter(POSITIONS, "token", shuffle=True, device=args.device):
            trainer._train_step(batch)
            trainer.optimizer.step()
            model.zero_grad()

    trainer.tb_writer.close()
    return epoch, model, list(dev.make_iter(AT_ONCE, "sentence", device=args.device))


def train_joey(kind: str, data: Corpus, epochs: int, clock: Callable[[], float]) -> list[float]:
    """Seconds of each epoch."""
    with tempfile.TemporaryDirectory() as folder:
        epoch, _, _ = joey(kind, data, data.first(1), Path(folder))
        return [timed(clock, epoch)[0] for _ in range(epochs)]


def decode_joey(kind: str, train: Corpus, test: Corpus, learn: bool) -> Decode:
    """Its `search`."""
    from joeynmt.search import search

    with tempfile.TemporaryDirectory() as folder:
        epoch, model, batches = joey(kind, train, test, Path(folder))
        if learn:
            epoch()
    model.eval()
    for batch in batches:
        batch.sort_by_src_length()

    def decode(beams: int, steps: int) -> Sequence[Any]:
        limit = -1 if learn else steps  # half as long again
        found = [search(model, one, max_output_length=limit, beam_size=beams, beam_alpha=1.0)[0] for one in batches]
        ends = (row.tolist() for rows in found for row in rows)
        return [row[: row.index(model.eos_index)] if model.eos_index in row else row for row in ends]

    return decode


# ------------------------------------------------------------------ the contest


def timed(clock: Callable[[], float], run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what it gave."""
    started = clock()
    result = run()
    return clock() - started, result


def contest(runs: dict[str, Callable[[], float]], seconds: float) -> dict[str, Any]:
    """Rounds of all in turn for about so many seconds, at least three: rates, and ours against each other's."""
    for run in runs.values():
        run()
    rounds, started = [], time.perf_counter()
    while len(rounds) < 3 or (time.perf_counter() - started < seconds and len(rounds) < 40):
        rounds.append({name: run() for name, run in runs.items()})
    return {
        "rounds": len(rounds),
        "a_second": {name: statistics.median(row[name] for row in rounds) for name in runs},
        "times_as_fast_as": {
            ours: {name: spread([row[ours] / row[name] for row in rounds]) for name in runs if "isthmus" not in name}
            for ours in runs
            if "isthmus" in ours
        },
    }


def training(kind: str, data: Corpus, clock: Callable[[], float], peer: bool) -> dict[str, Callable[[], float]]:
    """Each contestant's tokens a second, of its second epoch."""
    sides: dict[str, Callable[..., list[float]]] = {
        "isthmus": partial(train_ours, "32-true"),
        "isthmus bf16": partial(train_ours, "bf16-mixed"),
        "hand_written": partial(train_by_hand, False),
        "hand_written bf16": partial(train_by_hand, True),
    } | ({"joeynmt": train_joey} if peer else {})
    return {name: partial(lambda run: data.tokens / run(kind, data, 2, clock)[1], run) for name, run in sides.items()}


def decoding(
    kind: str, train: Corpus, test: Corpus, learn: bool, clock: Callable[[], float], peer: bool
) -> tuple[Callable[[int, bool], dict[str, Callable[[], float]]], dict[str, float]]:
    """Each contestant's sentences a second with so many beams, or the steps after the first alone, times sentences
    a second, and the pieces that it writes for one."""
    sides = {"isthmus": decode_ours} | ({"joeynmt": decode_joey} if peer else {})
    decoders = {name: build(kind, train, test, learn) for name, build in sides.items()}
    pieces = {name: statistics.mean(len(row) for row in decode(1, STEPS)) for name, decode in decoders.items()}
    if not learn and min(pieces.values()) < 0.9 * STEPS:
        raise RuntimeError(f"{STEPS} pieces were expected, written were {pieces}")

    def of(beams: int, steps_alone: bool) -> dict[str, Callable[[], float]]:
        def rate(decode: Decode) -> float:
            whole = timed(clock, partial(decode, beams, STEPS))[0]
            if not steps_alone:
                return len(test.sources) / whole
            return len(test.sources) * (STEPS - 1) / (whole - timed(clock, partial(decode, beams, 1))[0])

        return {name: partial(rate, decode) for name, decode in decoders.items()}

    return of, pieces


def show(kind: str, case: dict[str, Any]) -> None:
    """One table on stdout."""
    for what, found in case.items():
        print(f"{kind:12}{what}: {found.get('pieces', '')}")
        for name, rate in found["a_second"].items():
            ratios = [row[name] for row in found["times_as_fast_as"].values() if name in row]
            said = "".join(f"  {way[0]:.2f} ({way[1]:.2f} to {way[2]:.2f})" for way in ratios)
            print(f"  {name:14}{rate:10.1f} a second{said}", flush=True)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20, help="of the whole run, roughly")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/seq_speed.json"))
    options = parser.parse_args(given)
    torch.set_num_threads(options.threads)
    clock, (train, test) = CLOCKS[options.clock], corpora()
    data = train.first(options.sentences)
    result: dict[str, Any] = {
        "machine": machine(),
        "torch": torch.__version__,
        "threads": options.threads,
        "clock": options.clock,
        "keeps_freed_memory": keep_freed_memory(),
        "matrix_peak_gflops": matrix_peak(clock),
        "sentences": options.sentences,
        "target_tokens": data.tokens,
        "skipped": {},
    }
    logging.disable(logging.INFO)
    try:
        import joeynmt  # noqa: F401
    except ImportError as error:
        result["skipped"]["joeynmt"] = str(error)
    peer, share = "joeynmt" not in result["skipped"], 60 * options.minutes * 0.9 / len(options.kinds)
    for kind in options.kinds:
        case = result[kind] = {"train": contest(training(kind, data, clock, peer), 0.6 * share)}
        for contests, some, read, learn in (
            ((f"writing {STEPS} pieces", "steps"), data.first(200), test.first(AT_ONCE), False),
            (("translating",), train.first(LEARNT), test.first(TRANSLATED), True),
        ):
            of, pieces = decoding(kind, some, read, learn, clock, peer)
            for what, beams in itertools.product(contests, (1, 5)):
                found = contest(of(beams, what == "steps"), 0.07 * share)
                case[f"{what}, beam {beams}"] = found | {"pieces": pieces}
        show(kind, case)
    if "transformer" in options.kinds:
        result["step_ms"] = step_times(data, clock)
        print(json.dumps(result["step_ms"]))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
