"""Photographs side by side with titles: one with the same crop of each enlarged, or rows of crops."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

BACKGROUND = (250, 250, 248)
INK = (24, 24, 27)
SOFT_INK = (90, 90, 98)
MARK = (255, 110, 0)
HALO = (255, 255, 255)
EDGE = (208, 208, 212)
"""Around a cell: a white photograph would have none."""

MARGIN = 24
GAP = 16
ROW_GAP = 22
TITLE_SIZE = 17
HEADING_SIZE = 16
CAPTION_SIZE = 14
LINE_SPACING = 1.35
SMALLEST_COLUMN = 200
"""Pixels; narrower and the captions no longer fit."""
LARGEST_COLUMN = 480
TALLEST_PANEL = 520
WHOLE_PIXELS = 3
"""A photograph enlarged this much or more shows its pixels as squares of one size."""
LARGEST_CROP_SHARE = 0.4
"""Of a side of the photograph, so that the crop is a detail and not the photograph again."""
SMALLEST_CROP = 24
"""Pixels across, where the photograph has them; fewer show nothing."""


Ink = tuple[int, int, int]
Line = tuple[str, int, Ink]
"""A line of text, the size of its font, and its colour."""


@dataclass(frozen=True)
class HeatMap:
    """A map of a photograph in coloured cells.

    Attributes:
        title: What it shows.
        caption: Lines in smaller print below the title.
        colours: `(rows, columns, 3)` uint8, one for each cell.
        cell: Side of a cell in pixels of the photograph, whose border may cut the last ones off.
    """

    title: str
    caption: tuple[str, ...]
    colours: NDArray[np.uint8]
    cell: int


@dataclass(frozen=True)
class Panel:
    """One photograph of the row.

    Attributes:
        pixels: `(H, W, 3)` uint8, the same size for every panel of a picture.
        title: What it is.
        caption: Lines in smaller print below the title.
        inks: Their colours; the usual one without.
        maps: Drawn below its crop.
    """

    pixels: NDArray[np.uint8]
    title: str
    caption: tuple[str, ...] = ()
    inks: tuple[Ink, ...] = ()
    maps: tuple[HeatMap, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One place in a row of crops.

    Attributes:
        title: What it is.
        caption: Lines in smaller print below the title.
        pixels: `(H, W, 3)` uint8, drawn pixel by pixel but for its edge; None to leave the place
            empty but for its text.
    """

    title: str = ""
    caption: tuple[str, ...] = ()
    pixels: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Row:
    """Cells side by side, below a heading.

    Attributes:
        heading: One line above them, or more if it is long.
        cells: From left to right.
    """

    heading: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Crop:
    """A part of the photograph, in its pixels, and the whole number that it is enlarged by."""

    left: int
    top: int
    width: int
    height: int
    zoom: int


def draw(panels: Sequence[Panel], compare: tuple[int, int], max_width: int = 1800) -> Image.Image:
    """Draw the panels in a row, below each the crop in which two of them differ most, and its maps.

    A large photograph is scaled down for its panel and a small one enlarged; a crop keeps its pixels, each
    drawn as a square of whole size.

    Args:
        panels: What to draw, from left to right.
        compare: Which two panels choose the crop.
        max_width: The picture is at most this many pixels wide, unless its columns would be too narrow.

    Returns:
        An RGB picture.
    """
    height, width = panels[0].pixels.shape[:2]
    room = (max_width - 2 * MARGIN - GAP * (len(panels) - 1)) // len(panels)
    column = max(SMALLEST_COLUMN, min(LARGEST_COLUMN, room))
    shown = _panel_size(width, height, column)
    first, second = compare
    crop = _choose_crop(panels[first].pixels, panels[second].pixels, column)
    titles = [_wrapped(panel.title, panel.caption, column, panel.inks) for panel in panels]
    text_height = max(map(_text_height, titles))
    below = MARGIN + text_height + 6 + shown[1] + GAP + crop.height * crop.zoom
    heats = itertools.zip_longest(*(panel.maps for panel in panels))
    rows = [_map_row(row, (width, height), shown, column) for row in heats]
    bottom = below + sum(ROW_GAP + row.height for row in rows) + MARGIN
    canvas = Image.new("RGB", (2 * MARGIN + len(panels) * (column + GAP) - GAP, bottom), BACKGROUND)
    for number, (panel, lines) in enumerate(zip(panels, titles, strict=True)):
        left = MARGIN + number * (column + GAP)
        _draw_text(canvas, lines, left, MARGIN)
        _draw_photo(canvas, panel.pixels, crop, shown, (left, MARGIN + text_height + 6))
        _draw_crop(canvas, panel.pixels, crop, (left, MARGIN + text_height + 6 + shown[1] + GAP))
    for row in rows:
        canvas.paste(row, (MARGIN, below + ROW_GAP))
        below += ROW_GAP + row.height
    return canvas


def _map_row(
    heats: Sequence[HeatMap | None], size: tuple[int, int], shown: tuple[int, int], column: int
) -> Image.Image:
    """Draw maps of a photograph of a width and height, each as large as it is shown; None leaves a gap."""
    texts = [_wrapped(heat.title, heat.caption, column) if heat else [] for heat in heats]
    top = max(map(_text_height, texts)) + 6
    row = Image.new("RGB", (len(heats) * (column + GAP) - GAP, top + shown[1]), BACKGROUND)
    for number, (heat, text) in enumerate(zip(heats, texts, strict=True)):
        left = number * (column + GAP)
        _draw_text(row, text, left, 0)
        if heat is not None:
            part = (0, 0, size[0] / heat.cell, size[1] / heat.cell)
            colours = Image.fromarray(heat.colours).resize(shown, Image.Resampling.BOX, box=part)
            row.paste(colours, (left, top))
            ImageDraw.Draw(row).rectangle([left, top, left + shown[0] - 1, row.height - 1], outline=EDGE)
    return row


def draw_rows(title: str, legend: Sequence[str], rows: Sequence[Row], column: int) -> Image.Image:
    """Draw rows of cells that stand in columns, below a title and a legend.

    Args:
        title: What the picture shows.
        legend: Paragraphs in small print.
        rows: At least one, each of at least one cell.
        column: Width of a column in pixels, at least that of every cell.

    Returns:
        An RGB picture.
    """
    width = max(len(row.cells) for row in rows) * (column + GAP) - GAP
    blocks = [_text_block(_wrapped(title, legend, width), width)]
    blocks += [_row_block(row, column, width) for row in rows]
    height = sum(block.height for block in blocks) + ROW_GAP * (len(blocks) - 1)
    canvas = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN), BACKGROUND)
    top = MARGIN
    for block in blocks:
        canvas.paste(block, (MARGIN, top))
        top += block.height + ROW_GAP
    return canvas


def _text_block(lines: Sequence[Line], width: int) -> Image.Image:
    block = Image.new("RGB", (width, _text_height(lines)), BACKGROUND)
    _draw_text(block, lines, 0, 0)
    return block


def _row_block(row: Row, column: int, width: int) -> Image.Image:
    heading = [(line, HEADING_SIZE, INK) for line in wrap(row.heading, HEADING_SIZE, width)]
    texts = [_wrapped(cell.title, cell.caption, column) for cell in row.cells]
    text_top = _text_height(heading) + 4
    photo_top = text_top + max(map(_text_height, texts)) + 4
    tallest = max((len(cell.pixels) for cell in row.cells if cell.pixels is not None), default=0)
    block = Image.new("RGB", (width, photo_top + tallest), BACKGROUND)
    _draw_text(block, heading, 0, 0)
    for number, (cell, lines) in enumerate(zip(row.cells, texts, strict=True)):
        left = number * (column + GAP)
        _draw_text(block, lines, left, text_top)
        if cell.pixels is not None:
            height, width = cell.pixels.shape[:2]
            block.paste(Image.fromarray(cell.pixels), (left, photo_top))
            edge = [left, photo_top, left + width - 1, photo_top + height - 1]
            ImageDraw.Draw(block).rectangle(edge, outline=EDGE)
    return block


def _panel_size(width: int, height: int, column: int) -> tuple[int, int]:
    scale = min(column / width, TALLEST_PANEL / height)
    scale = float(int(scale)) if scale >= WHOLE_PIXELS else scale
    return max(1, round(width * scale)), max(1, round(height * scale))


def _choose_crop(before: NDArray[np.uint8], after: NDArray[np.uint8], column: int) -> Crop:
    height, width = before.shape[:2]
    largest = max(SMALLEST_CROP, int(LARGEST_CROP_SHARE * min(width, height * 4 // 3)))
    zoom = max(2, -(-column // min(largest, width)))
    crop_width = min(width, column // zoom)
    crop_height = min(height, crop_width * 3 // 4)
    top, left = most_changed(before, after, crop_height, crop_width)
    return Crop(left, top, crop_width, crop_height, zoom)


def most_changed(
    before: NDArray[np.uint8], after: NDArray[np.uint8], height: int, width: int
) -> tuple[int, int]:
    """Return top and left of the box in which two photographs differ most in squared error.

    Of many such boxes the one with the difference in its middle; without any, the photograph's middle.

    Args:
        before: `(H, W, 3)`.
        after: `(H, W, 3)`.
        height: Of the box, at most H.
        width: Of the box, at most W.
    """
    error = np.zeros(before.shape[:2])
    for channel in range(3):
        error += np.square(before[..., channel].astype(np.float32) - after[..., channel])
    sums = np.pad(error.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    boxes = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    rows, columns = len(boxes), len(boxes[0])
    if not error.any():
        return (rows - 1) // 2, (columns - 1) // 2
    top, left = divmod(int(boxes.argmax()), columns)
    inside = error[top : top + height, left : left + width]
    middle_row = np.average(np.arange(height), weights=inside.sum(axis=1))
    middle_column = np.average(np.arange(width), weights=inside.sum(axis=0))
    centred_top = min(max(0, top + round(middle_row - height / 2)), rows - 1)
    centred_left = min(max(0, left + round(middle_column - width / 2)), columns - 1)
    kept = boxes[centred_top, centred_left] >= (1 - 1e-9) * boxes[top, left]
    return (centred_top, centred_left) if kept else (top, left)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _line_height(size: int) -> int:
    return round(size * LINE_SPACING)


def _text_height(lines: Sequence[Line]) -> int:
    return sum(_line_height(size) for _, size, _ in lines)


def wrap(text: str, size: int, width: int) -> list[str]:
    """Break a text into lines that fit a width.

    Args:
        text: Words; one that is too long for a line is broken, too.
        size: Of the font, in pixels.
        width: In pixels.

    Returns:
        At least one line.
    """
    font, lines = _font(size), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _wrapped(title: str, caption: Sequence[str], column: int, inks: Sequence[Ink] = ()) -> list[Line]:
    """Break title and caption into lines that fit the column, each with its font size and colour."""
    colours = inks or [SOFT_INK] * len(caption)
    texts = [(title, TITLE_SIZE, INK)]
    texts += [(line, CAPTION_SIZE, ink) for line, ink in zip(caption, colours, strict=True)]
    return [(line, size, ink) for text, size, ink in texts for line in wrap(text, size, column)]


def _draw_text(canvas: Image.Image, lines: Sequence[Line], left: int, top: int) -> None:
    pen = ImageDraw.Draw(canvas)
    for line, size, ink in lines:
        pen.text((left, top), line, fill=ink, font=_font(size))
        top += _line_height(size)


def _draw_photo(
    canvas: Image.Image,
    pixels: NDArray[np.uint8],
    crop: Crop,
    shown: tuple[int, int],
    corner: tuple[int, int],
) -> None:
    scale = shown[0] / pixels.shape[1]
    method = Image.Resampling.NEAREST if scale >= WHOLE_PIXELS else Image.Resampling.LANCZOS
    canvas.paste(Image.fromarray(pixels).resize(shown, method), corner)
    left, top = corner[0] + round(crop.left * scale), corner[1] + round(crop.top * scale)
    right = corner[0] + round((crop.left + crop.width) * scale) - 1
    bottom = corner[1] + round((crop.top + crop.height) * scale) - 1
    box = [left, top, max(left, right), max(top, bottom)]  # a crop may be narrower than a pixel of the panel
    pen = ImageDraw.Draw(canvas)
    pen.rectangle([box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1], outline=HALO, width=4)
    pen.rectangle(box, outline=MARK, width=2)


def _draw_crop(canvas: Image.Image, pixels: NDArray[np.uint8], crop: Crop, corner: tuple[int, int]) -> None:
    part = pixels[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    enlarged = (crop.width * crop.zoom, crop.height * crop.zoom)
    canvas.paste(
        Image.fromarray(np.ascontiguousarray(part)).resize(enlarged, Image.Resampling.NEAREST), corner
    )
    edge = [corner[0], corner[1], corner[0] + enlarged[0] - 1, corner[1] + enlarged[1] - 1]
    ImageDraw.Draw(canvas).rectangle(edge, outline=MARK, width=2)
