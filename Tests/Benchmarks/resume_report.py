"""The reports of resume_demo.py: tables in Markdown and a plot of the losses in SVG."""

from __future__ import annotations

import math
import statistics

from report import count

MARKS = ("<!-- Resume: written by make resume-demo. -->", "<!-- End of resume. -->")


def seconds(runs: list[float] | None, spread: bool) -> str:
    if runs is None:
        return ""
    middle = f"{statistics.median(runs):.3f}"
    return f"{middle} ({min(runs):.3f}–{max(runs):.3f})" if spread else middle


def figure(value: float) -> str:
    """Two significant digits; a zero is one exactly."""
    return f"{value:.2g}" if value else "0"


def table(document: dict, spread: bool = False) -> str:
    """A row for each way; what was not trained has no losses, what was not stored no file."""
    lines = [
        f"| optimizer state | largest gap of the loss | mean loss, last {document['last']} | validation loss | drift "
        "| file, MiB | save, s | load, s |", "|---|---|---|---|---|---|---|---|"]
    for row in document["rows"]:
        curve = [""] * 4 if row["losses"] is None else [
            figure(row["largest_gap"]), f"{row['last']:.4f}", f"{row['validation']:.4f}", figure(row["drift"])]
        size = f"{row['file_bytes'] / 2**20:.2f}" if "file_bytes" in row else ""
        cells = [row["name"], *curve, size, seconds(row.get("save"), spread), seconds(row.get("load"), spread)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(document: dict) -> str:
    """What was trained, in a sentence."""
    s = document["settings"]
    return (f"GPT of {document['parameters'] / 1e6:.1f} million parameters, {s['before']} steps, then {s['after']} "
            "from the stored state")


def readme_table(document: dict) -> str:
    machine = document["machine"]
    return "\n".join([
        f"{document['date']}, {machine['cpu']}, {count(document['threads'], 'thread')}; {summary(document)}. Files in "
        f"`{document['folder']}`, medians of {count(document['runs'], 'round')}.", "", table(document)])


def curves(document: dict, every: int = 10) -> str:
    """The loss of every tenth step after resuming, and of the last."""
    rows = [row for row in document["rows"] if row["losses"]]
    before, steps = document["settings"]["before"], len(rows[0]["losses"])
    shown = sorted({0, *range(every - 1, steps, every), steps - 1})
    lines = ["| step | " + " | ".join(row["name"] for row in rows) + " |", "|---" * (len(rows) + 1) + "|"]
    for step in shown:
        lines.append(f"| {before + step + 1} | " + " | ".join(f"{row['losses'][step]:.4f}" for row in rows) + " |")
    return "\n".join(lines)


def markdown(document: dict, plot: str) -> str:
    """The report as RESUME.md has it."""
    machine, data, s = document["machine"], document["data"], document["settings"]
    return "\n".join([
        "# Resuming from a stored optimizer state", "",
        "Written by `make resume-demo`; not to be edited.", "",
        f"{document['date']}; {machine['cpu']}, {machine['processors']} processors, {machine['os']}; "
        f"{count(document['threads'], 'thread')}.", "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in document["versions"].items()) + ".", "",
        table(document, spread=True), "",
        f"![The losses, and their gaps to exact resume]({plot})", "",
        "## What the columns say", "",
        f"- *Largest gap of the loss*: the largest distance to the first row's loss at any of the {s['after']} steps "
        "after resuming. Every row sees the same data in the same order.",
        f"- *Mean loss*: over the last {document['last']} of them. *Validation loss*: at the end, on text that is not "
        "trained on.",
        "- *Drift*: the distance of the final parameters from those of the first row, over the distance that the first "
        "row went since it was interrupted.",
        "- *File, save, load*: the optimizer state alone; parameters are exact everywhere. Medians of "
        f"{count(document['runs'], 'round')} (least and greatest), in `{document['folder']}`. Saving ends with an "
        "fsync: the writer of torch.distributed.checkpoint does it by itself, for all others the script does, whether "
        "or not theirs does too. Loading gives float32 in memory and touches every page.", "",
        "## What the rows are", "",
        "- *exact, without a break*: the run that was not interrupted; nothing is stored.",
        "- *one bit off*: each moment is moved to the next float32, up or down at random: what rounding alone does.",
        "- *torch.save*: resumed from a file with the exact state, which is to give the first row's losses.",
        "- *safetensors*, *torch.distributed.checkpoint*: stored alone; the script checks that the state comes back "
        "bit for bit.",
        "- *bf16 moments*: moments rounded to bfloat16.",
        "- *bitsandbytes 8-bit*: both moments by its `quantize_blockwise` in blocks of 256 where a tensor has 4,096 "
        "elements or more, as its optimizers keep them. Its native code for CPUs looks codes up and never gives 0; "
        "qcodec's `paper8` is the same scheme with nearest rounding, which does.",
        "- *dropped*: resumed with a fresh optimizer, whose bias correction starts again; the learning rate goes on.",
        "", "## The losses", "", curves(document), "",
        "## How to repeat this", "",
        "`make resume-demo`; `Tests/Benchmarks/resume_demo.py --help` has the options. The model has "
        f"{s['layers']} layers of {s['width']}, {s['heads']} heads and a context of {s['context']} characters, "
        f"{document['parameters']:,} parameters in all; batches of {s['batch']}; AdamW with betas 0.9 and 0.95, weight "
        f"decay {s['decay']:g} on matrices alone, gradients clipped to {s['clip']:g}; {s['warm_up']} steps of warm-up "
        f"to {s['rate']:g}, then a cosine that reaches {s['least_rate']:g} at step {s['horizon']}. Seed {s['seed']}; "
        "the data of a step are a function of its number.", "",
        f"Data: {data['source']}, {data['licence']}, of the torch that is installed: {data['files']} files sorted by "
        f"path, {data['characters']:,} characters, SHA-256 `{data['sha256']}`; {data['vocabulary']} codes, one of them "
        f"for all rare characters. The last {data['validation_characters']:,} characters are for validation.", ""])


# Colours that stay apart for the colour-blind (Okabe and Ito), and then greys.
COLOURS = ["#000000", "#009e73", "#56b4e9", "#e69f00", "#d55e00", "#0072b2", "#cc79a7", "#999933", "#888888"]
WIDTH, HEIGHT, LEFT, TOP, GAP, LEGEND = 640, 220, 60, 24, 48, 210
LEAST_GAP = 1e-6  # below it the logarithmic panel ends


def plot(document: dict, around: int = 5) -> str:
    """The losses above, and below how far they are from exact resume, both as means over a few steps."""
    rows = [row for row in document["rows"] if row["losses"]]
    exact, first = rows[0]["losses"], document["settings"]["before"] + 1

    def smooth(values: list[float]) -> list[float]:
        return [statistics.fmean(values[max(0, i - around + 1):i + 1]) for i in range(len(values))]

    losses = [smooth(row["losses"]) for row in rows]
    gaps = [[math.log10(max(x, LEAST_GAP)) for x in smooth([abs(a - b) for a, b in zip(row["losses"], exact)])]
            for row in rows]
    steps = len(exact)
    parts = []
    for number, (title, panel) in enumerate((
        (f"loss, mean of {around} steps", losses), ("distance of the loss from exact resume", gaps))):
        top = TOP + number * (HEIGHT + GAP)
        values = [x for line in panel for x in line]
        low, high = min(values), max(values)
        if number == 1:  # whole decades
            low, high = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
            ticks = [(x, f"1e{x}") for x in range(low, high + 1)]
        else:
            high = high if high > low else low + 1
            ticks = [(low + (high - low) * i / 4, f"{low + (high - low) * i / 4:.2f}") for i in range(5)]

        def y(value: float, top: int = top, low: float = low, high: float = high) -> float:
            return top + HEIGHT * (high - value) / (high - low)

        def x(step: int) -> float:
            return LEFT + WIDTH * step / max(1, steps - 1)

        parts.append(f'<text x="{LEFT}" y="{top - 8}">{title}</text>')
        for value, label in ticks:
            parts.append(f'<path d="M{LEFT} {y(value):.1f}h{WIDTH}" stroke="#ddd"/>'
                         f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{label}</text>')
        for i in range(6):
            step = round((steps - 1) * i / 5)
            parts.append(
                f'<text x="{x(step):.1f}" y="{top + HEIGHT + 16}" text-anchor="middle">{first + step}</text>')
        for index, line in enumerate(panel):
            if number == 1 and index == 0:
                continue
            points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in enumerate(line))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[index % len(COLOURS)]}"/>')
    for index, row in enumerate(rows):
        middle = TOP + 10 + 18 * index
        parts.append(f'<path d="M{LEFT + WIDTH + 14} {middle}h18" stroke="{COLOURS[index % len(COLOURS)]}" '
                     f'stroke-width="3"/><text x="{LEFT + WIDTH + 38}" y="{middle + 4}">{row["name"]}</text>')
    width, height = LEFT + WIDTH + LEGEND, TOP + 2 * HEIGHT + GAP + 26
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
            f'font-size="11">\n<rect width="{width}" height="{height}" fill="#fff"/>\n'
            + "\n".join(parts) + "\n</svg>\n")
