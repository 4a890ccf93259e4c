"""Rules for pictures: cropping, turning and other changes in the order named; measurements."""

from __future__ import annotations

import re
from collections.abc import Callable

from sanderling.models.offline.plan import Plan, Shown, join, listing, render

IMAGE_KINDS = frozenset({"png", "jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff"})

_HEAD = """
    from PIL import Image, ImageEnhance, ImageFilter, ImageOps, ImageStat

    image = Image.open(@path@)
    print(f"original: {image.width} × {image.height} pixels, {image.mode}")
    image = image.convert("RGBA" if "A" in image.mode else "RGB")
"""
_STATISTICS = """
    statistics = ImageStat.Stat(image)
    print("size:", f"{image.width} × {image.height}")
    for band, mean, deviation, (low, high) in zip(
        image.getbands(), statistics.mean, statistics.stddev, statistics.extrema
    ):
        spread = f"standard deviation {deviation:.2f}, from {low} to {high}"
        print(f"band {band}: mean {mean:.2f}, {spread}")
"""
_HISTOGRAM = """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4))
    for band, colour in zip(image.getbands(), ("red", "green", "blue", "grey")):
        axes.plot(image.getchannel(band).histogram(), color=colour, label=band)
    axes.set_title("Histogram")
    axes.legend()
    figure.tight_layout()
    figure.savefig(@path@, dpi=120)
    print("saved:", @path@)
"""
_SAVE = """
    print(f"result: {image.width} × {image.height} pixels")
    image@@convert@@.save(@path@)
    print("saved:", @path@)
"""

_Change = Callable[[str], tuple[str, str]]  # the words from the verb on -> (description, source)


def about_picture(question: str, name: str, target: str | None) -> Plan | None:
    """Return the changes named, in order, and what is to be measured; None if nothing is."""
    text = " ".join(question.split())
    changes = _changes(text)
    wants_histogram = re.search(r"histogram", text, re.IGNORECASE) is not None
    wants_numbers = re.search(
        r"statistic|measure|describe|mean|size|dimension|how (?:big|large)", text, re.IGNORECASE
    )
    kind = _kind(text, name, target)
    if not (changes or wants_histogram or wants_numbers or kind != name.rsplit(".", 1)[-1].lower()):
        return None
    code = render(_HEAD, path=f"/mnt/data/{name}")
    for description, source in changes:
        code += f"\n# {description}\n{source}\n"
    code += "\n" + render(_STATISTICS)
    if wants_histogram:
        path = target if target and not changes else "histogram.png"
        code += "\n" + render(_HISTOGRAM, path=f"/mnt/data/{path}")
    if changes or not (wants_histogram or wants_numbers):
        output = target or f"processed_{name.rsplit('.', 1)[0]}.{kind}"
        flat = output.rsplit(".", 1)[-1].lower() in {"jpg", "jpeg", "bmp"}
        code += "\n" + render(
            _SAVE, path=f"/mnt/data/{output}", convert='.convert("RGB")' if flat else ""
        )
    done = [description for description, _ in changes]
    return Plan(code, lambda shown: _tell(shown, name, done))


def measured(name: str) -> Plan:
    """Say what kind of picture it is."""
    code = render(_HEAD, path=f"/mnt/data/{name}") + "\n" + render(_STATISTICS)
    return Plan(code, lambda shown: _tell(shown, name, []))


def _tell(shown: Shown, name: str, done: list[str]) -> str:
    facts = shown.facts
    bands = {key: value for key, value in facts.items() if key.startswith("band ")}
    changed = f"I changed it: {', then '.join(d[0].lower() + d[1:] for d in done)}." if done else ""
    result = f"The result is {facts['result']}." if "result" in facts else ""
    return join(
        f"{name} is {facts['original']}.",
        " ".join(part for part in (changed, result) if part),
        ("Its measurements now:\n" if done else "Its measurements:\n") + listing(bands),
        shown.links,
    )


def _changes(text: str) -> list[tuple[str, str]]:
    found = []
    for pattern, change in _CHANGES:
        for match in re.finditer(pattern, text, re.IGNORECASE):
            words = re.split(
                r"[.;]\s|,\s*(?!\s*\d)|\bthen\b|\band\b(?!\s*\d)", text[match.start() :]
            )[0]
            found.append((match.start(), change(words)))
            break
    return [change for _, change in sorted(found, key=lambda pair: pair[0])]


def _crop(words: str) -> tuple[str, str]:
    numbers = [int(n) for n in re.findall(r"\d+", words)]
    if len(numbers) == 4:
        return f"Crop to the box {tuple(numbers)}", f"image = image.crop({tuple(numbers)})"
    if len(numbers) == 2:
        width, height = numbers
        source = (
            f"left, top = (image.width - {width}) // 2, (image.height - {height}) // 2\n"
            f"image = image.crop((left, top, left + {width}, top + {height}))"
        )
        return f"Crop to {width} × {height} pixels around the centre", source
    source = (
        "left, top = image.width // 4, image.height // 4\n"
        "image = image.crop((left, top, image.width - left, image.height - top))"
    )
    return "Crop to the middle half", source


def _rotate(words: str) -> tuple[str, str]:
    degrees = int(match[0]) if (match := re.search(r"\d+", words)) else 90
    is_left = re.search(r"counter|anti|left", words, re.IGNORECASE) is not None
    # Pillow turns counter-clockwise, people mean clockwise.
    source = f"image = image.rotate({degrees if is_left else -degrees}, expand=True)"
    return f"Rotate by {degrees} degrees {'counter-clockwise' if is_left else 'clockwise'}", source


def _resize(words: str) -> tuple[str, str]:
    numbers = re.findall(r"\d+", words)
    if len(numbers) >= 2:
        return (
            f"Resize to {numbers[0]} × {numbers[1]}",
            f"image = image.resize(({numbers[0]}, {numbers[1]}))",
        )
    percent = re.search(r"(\d+)\s?%", words)
    if numbers and not percent:
        source = f"image = image.resize(({numbers[0]}, image.height * {numbers[0]} // image.width))"
        return f"Resize to a width of {numbers[0]}", source
    share = int(percent[1]) if percent else 50
    source = f"image = image.resize((image.width * {share} // 100, image.height * {share} // 100))"
    return f"Resize to {share}%", source


def _enhance(what: str, default: float) -> _Change:
    def change(words: str) -> tuple[str, str]:
        percent, factor = re.search(r"(\d+)\s?%", words), re.search(r"\d+(?:\.\d+)?", words)
        amount = 1 + int(percent[1]) / 100 if percent else float(factor[0]) if factor else default
        if re.search(r"reduc|lower|decreas|less|darken", words, re.IGNORECASE) and amount > 1:
            amount = round(1 / amount, 3)
        source = f"image = ImageEnhance.{what}(image).enhance({amount:g})"
        return f"Set the {what.lower()} to {amount:g} times", source

    return change


def _fixed(description: str, source: str) -> _Change:
    return lambda _words: (description, source)


_CHANGES: list[tuple[str, _Change]] = [
    (r"\bcrop|region of interest", _crop),
    (r"\brotat|\bturn (?:it|the)", _rotate),
    (r"\bresiz|\bscale|\bthumbnail|\bshrink|\benlarge|\bzoom", _resize),
    (
        r"gr[ae]y ?scale|black and white",
        _fixed("Turn it grey", 'image = image.convert("L").convert("RGB")'),
    ),
    (r"\b(?:\w+ )?(?:the )?contrast", _enhance("Contrast", 1.5)),
    (r"\b(?:\w+ )?(?:the )?brightness|\bbrighte|\bdarken", _enhance("Brightness", 1.3)),
    (r"\bsaturation", _enhance("Color", 1.5)),
    (r"\bsharpen", _fixed("Sharpen it", "image = image.filter(ImageFilter.SHARPEN)")),
    (r"\bblur", _fixed("Blur it", "image = image.filter(ImageFilter.GaussianBlur(3))")),
    (
        r"\bmirror|flip (?:it )?horizontal|\bflip\b(?!.*vertical)",
        _fixed("Mirror it", "image = ImageOps.mirror(image)"),
    ),
    (r"flip.*vertical|upside down", _fixed("Flip it", "image = ImageOps.flip(image)")),
    (r"\binvert|\bnegative", _fixed("Invert it", 'image = ImageOps.invert(image.convert("RGB"))')),
]


def _kind(text: str, name: str, target: str | None) -> str:
    """Return the kind of the picture to write: asked for, else as it was."""
    if target and target.rsplit(".", 1)[-1].lower() in IMAGE_KINDS:
        return target.rsplit(".", 1)[-1].lower()
    match = re.search(
        r"\b(?:convert|to|as|into)\b(?: an?)? (png|jpe?g|gif|bmp|webp|tiff?)\b", text, re.IGNORECASE
    )
    return match[1].lower() if match else name.rsplit(".", 1)[-1].lower()
