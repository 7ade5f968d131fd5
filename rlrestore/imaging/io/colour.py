"""What a file says of its colours: profiles, and the shorter ways to say it that become one.

Source: ICC.1:2010 (profiles); ITU-T H.273 (code points); PNG specification, third edition (gAMA, cHRM, cICP).
"""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Chromaticities = tuple[float, float, float, float, float, float, float, float]
"""x and y of white, red, green and blue."""

D65, D50_XYZ = (0.3127, 0.3290), (0.9642, 1.0, 0.8249)
SRGB: Chromaticities = (*D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
PRIMARIES: dict[int, tuple[str, Chromaticities]] = {
    1: ("BT.709", SRGB),
    4: ("BT.470 M", (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08)),
    5: ("BT.470 B/G", (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06)),
    6: ("SMPTE 170M", (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070)),
    7: ("SMPTE 240M", (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070)),
    9: ("BT.2020", (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)),
    11: ("DCI P3", (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)),
    12: ("Display P3", (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)),
    22: ("EBU 3213", (*D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077)),
}
"""By code point: what is meant, and where it lies."""
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
VIDEO_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 6, 14, 15), VIDEO_CURVE),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: SRGB_CURVE,
}
"""By code point: exponent, and where there is a straight foot, its parameters."""
UNSPECIFIED = 2
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@dataclass(frozen=True)
class Colours:
    """What a file says of its colours beside or instead of a profile.

    Attributes:
        code_points: Primaries, transfer function, matrix and full range, as H.273 numbers them.
        gamma: Exponent of the stored values, 0.45455 for displays of 2.2.
        chromaticities: Of white, red, green and blue.
        srgb_intent: That they are sRGB, and how to render them, 0 to 3.
    """

    code_points: tuple[int, int, int, int] | None = None
    gamma: float | None = None
    chromaticities: Chromaticities | None = None
    srgb_intent: int | None = None

    @property
    def name(self) -> str:
        """What to call them in a note."""
        if self.code_points is not None:
            primaries, transfer = self.code_points[:2]
            known = PRIMARIES[primaries][0] if primaries in PRIMARIES else f"primaries {primaries}"
            return f"{known}, transfer function {transfer}"
        parts = (("gamma", self.gamma), ("chromaticities", self.chromaticities))
        return " and ".join(name for name, value in parts if value is not None) or "sRGB"

    @property
    def usual(self) -> bool:
        """Whether they are sRGB, which a file without a word on its colours is taken for."""
        if self.code_points is not None:
            return self.code_points[0] in (1, UNSPECIFIED) and self.code_points[1] in (13, UNSPECIFIED)
        return self.srgb_intent is not None or (self.gamma is None and self.chromaticities is None)

    def profile(self, greyscale: bool) -> bytes | None:
        """Return a profile that says the same, None where none can."""
        primaries: Chromaticities | None = self.chromaticities or SRGB
        curve: tuple[float, ...] | None = (1 / self.gamma,) if self.gamma else SRGB_CURVE
        if self.code_points is not None:
            first, second = (
                code if code != UNSPECIFIED else usual
                for code, usual in zip(self.code_points, (1, 13), strict=False)
            )
            primaries = PRIMARIES[first][1] if first in PRIMARIES else None
            curve = CURVES.get(second)
        if primaries is None or curve is None:
            return None
        try:
            return _built(self.name, primaries, _curve(curve), greyscale)
        except (ValueError, ZeroDivisionError, OverflowError, struct.error, np.linalg.LinAlgError):
            return None


def profile_space(profile: bytes) -> str:
    """Return which colours a profile is for: `RGB`, `GRAY`, `CMYK`, …; nothing where it is no profile."""
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return ""
    return profile[16:20].decode("latin-1").strip()


def profile_for(profile: bytes, greyscale: bool) -> bytes | None:
    """Return a profile for a file of RGB or greyscale samples that says of grey what this one says.

    Returns:
        The profile itself where it fits or says nothing that is understood; None where there is none.
    """
    space = profile_space(profile)
    wanted = "GRAY" if greyscale else "RGB"
    if space in ("", wanted):
        return profile
    curve = _tag(profile, b"kTRC" if space == "GRAY" else b"gTRC") if space in ("RGB", "GRAY") else None
    if curve is None:
        return None
    return _built(
        "of a greyscale profile" if wanted == "RGB" else "grey of a profile", SRGB, curve, greyscale
    )


def _tag(profile: bytes, name: bytes) -> bytes | None:
    (count,) = struct.unpack_from(">I", profile, 128)
    for place in range(132, min(132 + 12 * count, len(profile) - 11), 12):
        kind, start, length = struct.unpack_from(">4sII", profile, place)
        if kind == name and start + length <= len(profile):
            return profile[start : start + length]
    return None


def _built(description: str, primaries: Chromaticities, curve: bytes, greyscale: bool) -> bytes:
    """Build a profile of version 4 from chromaticities and a curve, the whole tag."""
    white = _xyz(*primaries[:2])
    adapted = _adaptation(white)
    tags = {b"desc": _text(description), b"cprt": _text("no copyright"), b"wtpt": _numbers(D50_XYZ)}
    tags[b"chad"] = b"sf32" + bytes(4) + b"".join(map(_fixed, adapted.ravel()))
    if greyscale:
        tags[b"kTRC"] = curve
    else:
        corners = np.stack([_xyz(*primaries[place : place + 2]) for place in (2, 4, 6)], axis=1)
        colourants = adapted @ (corners * np.linalg.solve(corners, white))
        for number, letter in enumerate((b"r", b"g", b"b")):
            tags[letter + b"XYZ"] = _numbers(colourants[:, number])
            tags[letter + b"TRC"] = curve
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    space = b"GRAY" if greyscale else b"RGB "
    head = struct.pack(
        ">IIII4s4s12x4s28x", start + len(body), 0, 0x04300000, 0x6D6E7472, space, b"XYZ ", b"acsp"
    )
    head += b"".join(map(_fixed, D50_XYZ)) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


def _xyz(x: float, y: float) -> npt.NDArray[np.float64]:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _adaptation(white: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the matrix that takes colours under a white to those under D50."""
    gains = (BRADFORD @ np.array(D50_XYZ)) / (BRADFORD @ white)
    adapted: npt.NDArray[np.float64] = np.linalg.inv(BRADFORD) @ (gains[:, None] * BRADFORD)
    return adapted


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _numbers(values: npt.ArrayLike) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(_fixed(float(value)) for value in np.asarray(values))


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return struct.pack(">4s4xII4sII", b"mluc", 1, 12, b"enUS", len(encoded), 28) + encoded


def _curve(parameters: tuple[float, ...]) -> bytes:
    kind = 0 if len(parameters) == 1 else 3
    return struct.pack(">4s4xHH", b"para", kind, 0) + b"".join(map(_fixed, parameters))
