"""Write the measured figures into README.md and docs/engine.md, between two markers, from benchmarks/results/*.json.

    python docs/make_figures.py            # rewrites the tables
    python docs/make_figures.py --check    # only says, by its exit status, whether they are up to date

No figure in the documents is typed by hand. A benchmark without a result says so in its row.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- figures: begin.*?-->\n).*?(<!-- figures: end -->)", re.DOTALL)

Rows = list[tuple[str, str, str]]
"""What was measured, the figure, the mark it is held against."""


def threads_of(result: dict[str, Any]) -> str:
    """How many threads the benchmark ran on."""
    return "one thread" if result["threads"] == 1 else f"{result['threads']} threads"


def mnist(result: dict[str, Any]) -> Rows:
    """Nats per image of the VAE in Burda's setting."""
    mark = f"{result['published_nats']:.2f} (Burda et al. 2016)"
    runs = [(result["training_minutes"], result["final"])]
    runs += [(run["minutes"], run) for key, run in result.items() if key.startswith("after_")]
    return [
        (
            f"MNIST, −log p(x), VAE 784-200-200-50, {minutes:.0f} min of training, "
            f"{run['importance_samples']:,} samples, {run['images']:,} images",
            f"{run['nll_nats']:.2f} ± {run['nll_standard_error']:.2f} nats",
            mark,
        )
        for minutes, run in sorted(runs, key=lambda pair: pair[0])
    ]


def anomalies(result: dict[str, Any]) -> Rows:
    """Mean AUROC over the tables, and its margin over each other method."""
    summary, rows = dict(result["summary"]), Rows()
    ours = summary.pop("isthmus")
    name = f"anomalies in {ours['tables']} tables, mean AUROC (average precision)"
    rows.append((name, f"{ours['auroc']:.3f} ({ours['average_precision']:.3f})", ""))
    for method, row in sorted(summary.items(), key=lambda item: -item[1]["auroc"]):
        margin = row.get("isthmus_minus_this")
        said = (
            "" if margin is None else "{:+.3f} (90 % {:+.3f} to {:+.3f})".format(margin["mean"], *margin["interval_90"])
        )
        figure = f"{row['auroc']:.3f} ({row['average_precision']:.3f})"
        figure += "" if row.get("tables", ours["tables"]) == ours["tables"] else f", {row['tables']} tables only"
        rows.append((f"… `{method}`", figure, f"ours minus it: {said}" if said else ""))
    return rows


def mnist_pythae(result: dict[str, Any]) -> Rows:
    """Minutes of training until 90 nats."""
    rows = Rows()
    for name, run in result.items():
        if "skipped" in run:
            figure = f"skipped: {run['skipped']}"
        elif run["minutes_to_90_nats"] is None:
            last = run["curve"][-1]
            figure = f"not reached: {last['nats']:.2f} nats after {last['minutes']:.1f} min"
        else:
            figure = f"{run['minutes_to_90_nats']:.1f} min"
        rows.append((f"MNIST, minutes to 90 nats with the same network: `{name}`", figure, ""))
    return rows


def sparse_patches(result: dict[str, Any]) -> Rows:
    """Units that are Gabor functions, and how near ρ̂ comes to ρ."""
    shares, pca = result["gabor_shares"], result["pca_gabor_shares"]
    seeds = f"{len(shares)} seeds" if len(shares) > 1 else "one seed"
    spread = f"{result['gabor_share_mean']:.0%} ({min(shares):.0%} to {max(shares):.0%})"
    beside = f"at least {result['gabor_share_mark']:.0%}; PCA's components {min(pca):.0%} to {max(pca):.0%}"
    furthest = f"{result['rho_hat_furthest_from_rho']:.1%} of ρ"
    return [
        (f"natural image patches, units that are Gabor functions, {seeds}", spread, beside),
        ("… the furthest ρ̂ⱼ from ρ", furthest, f"at most {result['rho_hat_mark']:.0%}"),
    ]


def defaults(result: dict[str, Any]) -> Rows:
    """Held-out error over PCA's with the defaults, beside the best other setting that was tried."""
    errors = {name: row["error_over_pca"] for name, row in result.items()}
    (ours,) = [name for name in errors if "(default)" in name]
    other, best = min(((name, value) for name, value in errors.items() if name != ours), key=lambda pair: pair[1])
    what = "held-out squared error / PCA's, eleven tables, with the defaults"
    return [(what, f"{errors[ours]:.3f}", f"{best:.3f} with {other}, the best of {len(errors) - 1} other settings")]


def speed(result: dict[str, Any]) -> Rows:
    """Each case's whole fit: how many times as fast as the others, eager and replayed."""
    rows = Rows()
    for case, found in result["cases"].items():
        eager, replay = (found["times_as_fast_as"][side] for side in ("isthmus", "isthmus_replay"))
        shown = [name for name in eager if not name.endswith("_epochs")]
        said = ", ".join(f"{name} {eager[name]:.2f} / {replay[name]:.2f}" for name in shown)
        rows.append(
            (f"`fit`, {case}, {result['threads']} threads: × as fast, eager / replay", said, "see docs/speed.md")
        )
    rows.append(("… the loop's own cost a step", f"{result['loop_beyond_step']['microseconds']:.0f} µs", "below 20 µs"))
    rows.append(("… `import isthmus` beyond torch", f"{result['import_seconds']:.3f} s", "below 0.15 s"))
    return rows


def conv_speed(result: dict[str, Any]) -> Rows:
    """Each convolutional network at equal work: how many times as fast as the others, eager and replayed."""
    threads = threads_of(result)
    rows = Rows()
    for case, found in result["cases"].items():
        for what, ways in found["times_as_fast_as"].items():
            eager, replay = ways["isthmus"], ways["isthmus_replay"]
            said = ", ".join(f"{name} {eager[name][0]:.2f} / {replay[name][0]:.2f}" for name in eager)
            way = "`fit`, eager / replay" if what == "fit" else "`reconstruct`, after either"
            rows.append((f"{case}, {threads}: × as fast, {way}", said, "see docs/speed.md"))
    return rows


def denoise(result: dict[str, Any]) -> Rows:
    """PSNR beside the published one."""
    rows = []
    for sigma, found in result["psnr"].items():
        beside = f"BM3D {result['bm3d'][sigma]:.2f}, DnCNN-S {result['dncnn_s'][sigma]:.2f} (published)"
        rows.append((f"Set12, noise of {sigma} grey levels, one blind U-Net", f"{found:.2f} dB", beside))
    minutes = result["training_minutes"]
    return [*rows, ("its training", f"{minutes:.0f} min, {threads_of(result)}", result.get("remark", ""))]


def segment(result: dict[str, Any]) -> Rows:
    """Each side's mean over its seeds on the test slices, and the whole range."""
    rows = Rows()
    for kind, runs in result.items():
        sides: dict[str, list[dict[str, Any]]] = {}
        for key, run in runs.items():
            if key.endswith("slices 24 to 29"):
                sides.setdefault(key.split(", ")[0], []).append(run)
        for side, found in sides.items():
            minutes = sum(run["training_minutes"] for run in found) / len(found)
            seeds = "one seed" if len(found) == 1 else f"{len(found)} seeds"
            what = f"ISBI 2012 membranes as {kind}, {minutes:.0f} min a run, {seeds}: `{side}`"
            said = ", ".join(f"{name} {spread(found, key)}" for key, name in SEGMENT.items())
            rows.append((what, said, "mean (least to most)"))
    return rows


SEGMENT = {"dice": "Dice", "boundary_f1": "boundary F1", "pixel_error": "pixel error"}


def spread(runs: list[dict[str, Any]], key: str) -> str:
    """The mean and the ends of a figure over runs."""
    values = [run[key] for run in runs]
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def mnist_conv(result: dict[str, Any]) -> Rows:
    """Squared error beside PCA's, and nats beside the fully connected VAE's."""
    rows = Rows()
    if run := result.get("autoencoder"):
        what = f"MNIST, squared error an image, 32 numbers by convolutions, {run['training_minutes']:.0f} min"
        rows.append((what, f"{run['squared_error']:.2f}", f"PCA with 32 components {run['pca_squared_error']:.2f}"))
    for name, run in result.items():
        if name.startswith("vae"):
            kind = {"vae conv": "convolutional", "vae mlp": "fully connected"}[name]
            what = f"MNIST, −log p(x) of a {kind} VAE, {run['training_minutes']:.0f} min"
            figure = f"{run['nll_nats']:.2f} ± {run['nll_standard_error']:.2f} nats"
            rows.append((what, figure, f"−ELBO {run['negative_elbo_nats']:.2f}"))
    return rows


def mnist_mae(result: dict[str, Any]) -> Rows:
    """What a logistic regression reads from each code."""
    return [
        (f"MNIST, logistic regression on {run['width']} numbers: {name}", f"{run['accuracy']:.2%}", "")
        for name, run in result.items()
    ]


def sentences(result: dict[str, Any]) -> Rows:
    """Nats a word of each sentence VAE, and its KL."""
    return [
        (
            f"Multi30k's English, GRU of byte pairs, {run['minutes']:.0f} min: {name}",
            f"{run['nats_a_word']:.3f} nats a word",
            f"KL {run['kl']:.2f} nats" if "kl" in run else "",
        )
        for name, run in result.items()
    ]


def translate(result: dict[str, Any]) -> Rows:
    """BLEU, greedy and with five beams."""
    rows = Rows()
    for name, run in result.items():
        what = f"Multi30k English to German, test_2016_flickr: {name}, {threads_of(run)}"
        said = f"BLEU {run['beam 1']['bleu']:.2f}, beam 5 {run['beam 5']['bleu']:.2f}"
        signature = run["beam 1"]["signature"].replace("|", " ")  # which would end a cell
        rows.append((what, said, f"`{signature}`"))
    return rows


def pronounce(result: dict[str, Any]) -> Rows:
    """Phoneme and word error rates with beams."""
    rows = Rows()
    for name, run in result.items():
        (beam,) = [key for key in run if key.startswith("beam")]
        said = f"{run[beam]['phoneme_error']:.2f} %, {run[beam]['word_error']:.2f} %"
        rows.append((f"CMUdict, errors of phonemes and of words, {beam}: {name}", said, "published 5.45 %, 23.55 %"))
    return rows


def series(result: dict[str, Any]) -> Rows:
    """The error of each forecast, beside those of simpler methods, and what its intervals hold."""
    rows = Rows()
    for name, found in result.get("forecast", {}).items():
        methods = found["methods"]
        (ours,) = [method for method in methods if "(default)" in method]
        what = f"forecasts of {name}, {found['horizon']} steps ahead, {found['origins']} origins: MAE (MASE)"
        beside = [method for method in methods if not method.startswith("Seq2Seq")]
        said = ", ".join(f"{method} {methods[method]['mae']:.3g} ({methods[method]['mase']:.2f})" for method in beside)
        rows.append((what, f"{methods[ours]['mae']:.3g} {found['unit']} ({methods[ours]['mase']:.2f})", said))
        held = {name: f"{sum(shares) / len(shares):.0%}" for name, shares in found["coverage"].items()}
        alone = f"asked: {found['coverage_asked']:.0%}; by the likelihood alone {held['gaussian_nll, not calibrated']}"
        rows.append(("… share within its intervals (Gaussian likelihood)", held["gaussian_nll"], alone))
    described = dict(result.get("codes", {}))
    if ours := described.pop("RNN autoencoder's code", None):
        what = "JapaneseVowels, accuracy on the RNN autoencoder's code: nearest neighbour, logistic regression"
        beside = "; ".join(
            f"{name} " + ", ".join(f"{row[kind]:.1%}" for kind in ("nearest", "logistic") if kind in row)
            for name, row in described.items()
        )
        rows.append((what, f"{ours['nearest']:.1%}, {ours['logistic']:.1%}", beside))
    if odd := result.get("anomaly"):
        what = f"UCR anomaly 135, labelled at {odd['labelled'][0]} to {odd['labelled'][1]}: lowest score at"
        rows.append((what, ", ".join(map(str, odd["lowest_at"])), f"within {odd['within']} steps: {odd['hits']}"))
    return rows


def kills(result: dict[str, Any]) -> Rows:
    """Runs that were killed and resumed, and the steps of all their processes."""
    runs = result["runs"]
    what = f"{runs} runs killed {result['kills']} times at random and resumed: bit-identical to the one never killed"
    beside = f"{result['steps_taken']:,} steps; allowed, with those since each newest checkpoint, "
    return [(what, f"{result['bit_identical']} of {runs}", f"{beside}{result['steps_allowed']:,}")]


def checkpoint_cost(result: dict[str, Any]) -> Rows:
    """What checkpoints of a large model cost of the training's time."""
    marks = {"20": "below 5 %", "60": "below 2 %"}
    threads = threads_of(result)
    what = f"{result['parameters'] / 1e6:.0f} million parameters, a checkpoint of {result['megabytes']:.0f} MB every"
    clock = f"by the clock, on a shared core, {result['cost_seconds']['clock']:.1f} s each"
    return [
        (
            f"{what} {every} s: cost of the training's processor time, {threads}",
            f"{100 * share:.1f} %",
            f"{marks[every]}; {clock}",
        )
        for every, share in result["share"].items()
    ]


def stream(result: dict[str, Any]) -> Rows:
    """How fast rows of a file are trained on, and in how much memory."""
    threads = threads_of(result)
    marks, peak = {"npy": 0.9, "parquet": 0.5}, result["npy"]["peak_megabytes_above_idle"]
    memory = ("… at most so much memory above idle, that no file stands behind", f"{peak:.0f} MB", "below 1,000 MB")
    shares = [
        (
            f"rows streamed from .{kind} ({found['rows'] * 3136 / 1e9:.1f} GB in float32), {threads}: "
            "share of the speed on rows in memory",
            f"{found['of_resident_speed']:.2f}",
            f"at least {marks[kind]}; {found['rows_a_second']:,.0f} rows a second",
        )
        for kind, found in result.items()
        if kind in marks
    ]
    return [*shares, memory]


def seq_speed(result: dict[str, Any]) -> Rows:
    """Sequence models: how many times as fast as the others."""
    threads = threads_of(result)
    rows = Rows()
    for kind in ("gru", "transformer"):
        for what, found in result.get(kind, {}).items():
            units = {"train": "target tokens a second", "steps": "steps a second of one sentence"}
            unit = units.get(what.partition(",")[0], "sentences a second")
            said = "; ".join(
                f"{ours} {found['a_second'][ours]:,.0f}: "
                + ", ".join(f"{ratio[0]:.2f} × {name}" for name, ratio in others.items())
                for ours, others in found["times_as_fast_as"].items()
            )
            written = ", ".join(f"{name} {number:.1f}" for name, number in found.get("pieces", {}).items())
            beside = f"pieces a sentence: {written}" if what.startswith("translating") else "see docs/speed.md"
            rows.append((f"{kind}, {what}, {threads}, {unit}", said, beside))
    return rows


def engine(result: dict[str, Any]) -> Rows:
    """Each case's step: how many times as fast as the best loop by hand, and what else was asked of it."""
    threads = threads_of(result)
    rows = Rows()
    for case, found in result["cases"].items():
        ways = found["times_as_fast_as"]
        (middle, low, high), more = ways["isthmus_compiled"]["hand_written"], found["share_of_peak"]
        said = f"{middle:.2f} ({low:.2f} to {high:.2f}) compiled, {more['isthmus_compiled']:.0%} of the matrix peak"
        said += "".join(f"; {ways[f'isthmus{way}']['hand_written'][0]:.2f} {name}" for way, name in ENGINE.items())
        lightning = [name for name in ("fabric", "trainer") if name in ways["isthmus_replay"]]
        beside = ", ".join(f"{name} {ways['isthmus_replay'][name][0]:.2f}" for name in lightning)
        what = f"a step of {case}, {threads}: × as fast as the best eager loop by hand"
        rows.append((what, said, f"replayed beside Lightning's: {beside}" if beside else ""))
        build, apart, auto = found["build_seconds"], found["apart"], found["auto"]
        said = f"{build['cold']:.0f} s, again {build['warm']:.1f} s"
        begins = "never" if auto["compiles_from"] is None else f"from {auto['compiles_from']:,} steps on"
        beside = f"`auto` compiles {begins}; "
        alone = found["apart_by_rounding"]["objective"]
        beside += f"objectives {apart['objective']:.0e} apart after {apart['steps']} steps, {alone:.0e} by rounding"
        rows.append(("… building it, processor time" if result["clock"] == "cpu" else "… building it", said, beside))
    return rows


ENGINE = {"_replay": "replayed", "": "as written"}


def many(result: dict[str, Any]) -> Rows:
    """Several models by one step: the time of a step of one of them, and how many times as fast that is."""
    rows = Rows()
    threads = threads_of(result)
    for way in ("compiled", "replayed"):
        found = result[way]
        times, build = found["milliseconds_a_step_of_one_model"], found["build_seconds"]
        steps, whole = found["times_as_fast"]["steps"], found["times_as_fast"]["whole_fit"]
        clock = "processor time" if result["clock"] == "cpu" else "by the clock"
        what = f"`fit_many`, {result['models']} tables' autoencoders 30-64-32, batch 32, {way}, {threads}, {clock}"
        figure = f"{times['together']:.3f} ms a step of one model, {steps[0]:.1f} × as fast as one after the other"
        beside = f"{times['one after the other']:.3f} ms; {steps[1]:.1f} to {steps[2]:.1f} × over "
        beside += f"{result['rounds']} rounds"
        beside += f"; at least {result['mark']} ×" if way == "compiled" else ""
        rows.append((what, figure, beside))
        said = f"{build['together']:.1f} s, and {build['one after the other']:.1f} s one after the other"
        steps_done = f"{result['steps_of_a_long_fit']:,} steps"
        rows.append(("… its building, from a warm cache", said, f"with it, {steps_done}: {whole[0]:.1f} × as fast"))
    return rows


BENCHMARKS: dict[str, Callable[[dict[str, Any]], Rows]] = {
    "speed": speed,
    "conv_speed": conv_speed,
    "denoise": denoise,
    "mnist": mnist,
    "mnist_pythae": mnist_pythae,
    "mnist_conv": mnist_conv,
    "mnist_mae": mnist_mae,
    "segment": segment,
    "pronounce": pronounce,
    "translate": translate,
    "sentences": sentences,
    "series": series,
    "seq_speed": seq_speed,
    "engine": engine,
    "many": many,
    "kills": kills,
    "checkpoint_cost": checkpoint_cost,
    "stream": stream,
    "sparse_patches": sparse_patches,
    "anomalies": anomalies,
    "defaults": defaults,
}


PAGES = {PAGE: list(BENCHMARKS), ROOT / "docs" / "engine.md": ["engine", "kills", "checkpoint_cost", "stream"]}
"""Which figures stand where."""


def block(names: Iterable[str] = BENCHMARKS) -> str:
    """The table of these benchmarks."""
    lines = ["| measured | figure | beside it |", "| --- | --- | --- |"]
    for name in names:
        path = RESULTS / f"{name}.json"
        rows = BENCHMARKS[name](json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []
        rows = rows or [(f"`{name}`", "not measured yet", f"`python benchmarks/{name}.py`")]
        lines += [f"| {what} | {figure} | {beside} |" for what, figure, beside in rows]
    return "\n".join(lines) + "\n"


def page(text: str, names: Iterable[str] = BENCHMARKS) -> str:
    """The page with its block written anew."""
    written, count = BLOCK.subn(lambda match: match[1] + block(names) + match[2], text)
    if count != 1:
        raise SystemExit(f"a page must hold the markers of the figures once, found {count}")
    return written


def main(arguments: list[str]) -> int:
    texts = {path: path.read_text(encoding="utf-8") for path in PAGES}
    if "--check" in arguments:
        return int(any(page(text, PAGES[path]) != text for path, text in texts.items()))
    for path, text in texts.items():
        path.write_text(page(text, PAGES[path]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
