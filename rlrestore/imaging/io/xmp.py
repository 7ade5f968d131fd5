"""XMP packets: what is not true of a result any more is taken out; the rest stays byte for byte."""

import re

_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:>|=["']))\s*[0-9]""")

_GOOGLE = b"http://ns.google.com/photos/1.0/"
APPENDED = {
    b"http://ns.adobe.com/hdr-gain-map/1.0/": "a gain map",
    b"http://ns.apple.com/HDRGainMap/1.0/": "a gain map",
    _GOOGLE + b"camera/": "a motion photo",
    _GOOGLE + b"audio/": "a sound",
    _GOOGLE + b"depthmap/": "a depth map",
    _GOOGLE + b"focus/": "a depth map",
    _GOOGLE + b"image/": "a further picture",
    _GOOGLE + b"container/": "a further picture",
    _GOOGLE + b"container/item/": "a further picture",
    b"http://ns.adobe.com/xmp/note/": "an extended part of its XMP",
}
"""Vocabularies that speak only of data that follow the picture in its file, and what these are."""


def upright_packet(packet: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return a packet whose orientation is upright and that announces nothing which follows the picture.

    Returns:
        The packet, and what it had announced.
    """
    announced = []
    for namespace, what in APPENDED.items():
        declared = re.compile(rb"""\s*xmlns:([\w.-]+)\s*=\s*(["'])""" + re.escape(namespace) + rb"\2")
        found = declared.search(packet)
        if found:
            announced.append(what)
            packet = _without(declared.sub(b"", packet), found[1])
    return _ORIENTATION.sub(rb"\g<1>1", packet), tuple(dict.fromkeys(announced))


def resized_packet(packet: bytes, width: int, height: int) -> bytes:
    """Return a packet that says another size where it says one."""
    sizes = {
        b"tiff:ImageWidth|exif:PixelXDimension": width,
        b"tiff:ImageLength|exif:PixelYDimension": height,
    }
    for names, pixels in sizes.items():
        said = re.compile(rb"""((?:""" + names + rb""")(?:>|\s*=\s*["']))\s*[0-9]+""")
        packet = said.sub(rb"\g<1>%d" % pixels, packet)
    return packet


def _without(packet: bytes, prefix: bytes) -> bytes:
    """Take out every element and attribute of a prefix."""
    kept, place = [], 0
    start = re.compile(rb"<" + re.escape(prefix) + rb":([\w.-]+)[^<>]*>")
    while found := start.search(packet, place):
        end = found.end()
        if not found[0].endswith(b"/>"):
            closing = b"</" + prefix + b":" + found[1] + b">"
            end = packet.find(closing, end) + len(closing)
            if end < len(closing):  # it is not closed: what follows is left as it is
                break
        kept.append(packet[place : found.start()])
        place = end
    kept.append(packet[place:])
    attribute = re.compile(rb"""\s""" + re.escape(prefix) + rb""":[\w.-]+\s*=\s*(?:"[^"]*"|'[^']*')""")
    return attribute.sub(b"", b"".join(kept))
