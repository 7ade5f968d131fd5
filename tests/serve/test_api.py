"""The HTTP interface: what is sent, and what comes back."""

import io
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from torch import nn

from rlrestore.explain.inspector import Inspector
from rlrestore.imaging.io.decoding import decode_photo
from rlrestore.restorer import Restorer
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox
from tests.rules import Rules, always, sloping
from tests.serve.conftest import png
from tests.serve.live import Live, live
from tests.serve.stubs import Broken
from tests.toys import make_restorer

AFTER = 116
"""What the toy makes of 100: 100 + 255 / 8 - 255 / 16, rounded."""


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def test_a_picture_comes_back(toy: Live, grey: bytes) -> None:
    answer = toy.restore(grey, "my street.png")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert "my%20street_restored.png" in answer.headers["content-disposition"]
    assert np.array_equal(pixels(answer.content), np.full((24, 32, 3), AFTER))


def test_head_is_get_without_a_body(toy: Live, grey: bytes) -> None:
    kept = f"/api/results/{toy.keep(grey).json()['id']}"
    there = ["/", "/docs", "/static/style.css", "/openapi.json", "/healthz", "/api/tools", kept]
    for path in [*there, "/api/results/none", "/nowhere", "/api/restore"]:
        whole, head = toy.client.get(path), toy.client.head(path)
        assert whole.is_success == (path in there)
        assert (head.status_code, head.content) == (whole.status_code, b"")
        facts = [{**answer.headers, "date": ""} for answer in (whole, head)]
        assert facts[0] == facts[1]
        assert int(head.headers["content-length"]) == len(whole.content)


@pytest.mark.parametrize("name", ["../../a.png", r"C:\photos\..\a.png", "a.png"])
def test_a_name_has_no_folder(toy: Live, grey: bytes, name: str) -> None:
    assert "''a_restored.png" in toy.restore(grey, name).headers["content-disposition"]


def test_names_that_differ_by_their_case_alone_get_a_number(toy: Live, grey: bytes) -> None:
    """Windows and macOS would write one over the other."""
    ids = [toy.keep(grey, name).json()["id"] for name in ("a.png", "A.PNG", "a.jpg")]
    answer = toy.client.post("/api/zip", json={"results": [{"id": each} for each in ids]})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["a_restored.png", "A_restored_2.png", "a_restored_3.png"]


def test_a_result_of_global_mode_has_no_maps(toy: Live, grey: bytes) -> None:
    answer = toy.client.get(f"/api/results/{toy.keep(grey).json()['id']}/maps/1")
    assert answer.status_code == 404
    assert answer.json()["error"] == "expected a result of local mode, which has maps, got step 1"


@pytest.mark.parametrize(("strength", "value"), [("0", 100), ("0.5", 108), ("1", AFTER), ("", AFTER)])
def test_the_strength_is_the_share_of_the_change(toy: Live, grey: bytes, strength: str, value: int) -> None:
    assert np.unique(pixels(toy.restore(grey, strength=strength).content)).tolist() == [value]


def test_a_tool_works_on_several_views(grey: bytes) -> None:
    with live(sloping()) as server:
        for fields, rise in (({}, 51), ({"views": "8"}, 0)):
            row = pixels(server.restore(grey, **fields).content)[0, :, 0].astype(int)
            assert row[-1] - row[0] == rise
            assert server.keep(grey, **fields).json()["trace"]["views"] == int(fields.get("views", 1))


def smoother() -> Restorer:
    """A model whose one tool averages the pixels around each, once."""
    toolbox = Toolbox(TOOLS[:1], "toy", [nn.AvgPool2d(3, 1, 1, count_include_pad=False)])
    return Restorer(TorchRuntime(toolbox, Rules(1, always(1.0), max_steps=1), "toy"))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_kept_result_is_written_as_the_command_restores(depth: type[np.integer]) -> None:
    """At any strength and detail, to the last bit of the file's depth; detail brings texture back."""
    rough = np.random.default_rng(0).integers(116, 125, (64, 64, 3)).astype(depth)
    texture = np.s_[24:40, 24:40]
    rough[texture][::2, ::2] = rough[texture][1::2, 1::2] = 190
    rough *= np.iinfo(depth).max // 255
    encoded, file = cv2.imencode(".png", rough)
    assert encoded
    photo, spreads = decode_photo(io.BytesIO(file.tobytes()), "it"), []
    with live(smoother()) as running:
        place = f"/api/results/{running.keep(file.tobytes()).json()['id']}"
        for strength, detail in ((1, 0), (1, 0.5), (1, 1), (0.3, 0), (0.7, 0.4), (0, 1)):
            chosen = {"strength": strength, "detail": detail}
            wanted = smoother().restore(photo, strength=strength, detail=detail).photo
            content = running.client.get(place, params=chosen).content
            shown = decode_photo(io.BytesIO(content), "it").samples(photo.depth_bits)
            assert shown.dtype == depth
            assert np.array_equal(shown, wanted.samples(photo.depth_bits))
            assert (
                running.restore(file.tobytes(), **{k: str(v) for k, v in chosen.items()}).content == content
            )
            spreads.append(shown[texture].std() * 255 / np.iinfo(depth).max)
        assert running.client.get(place, params={"detail": 2}).status_code == 422
    assert spreads[0] + 10 < spreads[1] < spreads[2] - 10


def test_json_tells_what_was_wrong(grey: bytes) -> None:
    """In numbers and in words; the toy has no inspector, so it borrows one."""
    restorer = make_restorer([0, 1])
    restorer.inspector = Inspector.from_pretrained()
    with live(restorer) as running:
        answer = running.keep(grey).json()

    assert answer["inspection"] == restorer.inspector.inspect(pixels(grey)).sentences()
    assert answer["trace"]["inspection"] == restorer.inspector.inspect(pixels(grey)).to_json()


def test_a_model_without_an_inspector_tells_nothing_of_it(toy: Live, grey: bytes) -> None:
    answer = toy.keep(grey).json()

    assert answer["inspection"] == ""
    assert answer["trace"]["inspection"] is None


def test_json_tells_what_was_done(toy: Live, grey: bytes) -> None:
    answer = toy.keep(grey, strength="0.5").json()

    assert answer["trace"]["tools"] == ["brighten", "darken"]
    made_for = "made for σ 0 to 50 of 255"
    assert answer["words"][0] == f"First: brighten takes noise away ({made_for}), +1.00 dB expected."
    assert answer["words"][-1].endswith("+2.00 dB expected in all, at full strength.")
    assert answer["others"] == [
        {"name": "without brighten", "options": {"never": "brighten"}},
        {"name": "one tool fewer", "options": {"chain": "brighten"}},
    ]
    assert (answer["width"], answer["height"], answer["keep"]) == (32, 24, "png")
    assert np.unique(pixels(toy.client.get(answer["picture"]).content)).tolist() == [108]


def test_a_kept_result_is_written_anew_until_it_is_forgotten(toy: Live, grey: bytes) -> None:
    place = f"/api/results/{toy.keep(grey).json()['id']}"

    assert pixels(toy.client.get(place, params={"strength": 0}).content).max() == 100
    written = toy.client.get(place, params={"strength": 1, "format": "jpg", "quality": 80})
    assert written.headers["content-type"] == "image/jpeg"
    assert toy.client.get(place, params={"strength": 2}).status_code == 422
    assert toy.client.delete(place).status_code == 204
    assert toy.client.get(place).status_code == 404


def test_format_depth_and_exif_are_kept(toy: Live) -> None:
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    stream = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), 100, np.uint8)).save(stream, "JPEG", exif=exif, quality=100)
    deep = io.BytesIO()
    Image.fromarray(np.full((16, 16), 25700, np.uint16)).save(deep, "PNG")

    with Image.open(io.BytesIO(toy.restore(stream.getvalue(), "a.bin", format="keep").content)) as jpeg:
        assert (jpeg.format, jpeg.getexif()[0x010F]) == ("JPEG", "A camera")
    with Image.open(io.BytesIO(toy.restore(deep.getvalue(), format="keep", strength="0").content)) as sixteen:
        assert np.unique(np.asarray(sixteen)).tolist() == [25700]


def test_several_results_come_as_one_archive(toy: Live, grey: bytes) -> None:
    ids = [toy.keep(grey, "twice.png").json()["id"] for _ in range(2)]
    wanted = [{"id": ids[0]}, {"id": ids[1], "strength": 0}]

    answer = toy.client.post("/api/zip", json={"results": wanted})

    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["twice_restored.png", "twice_restored_2.png"]
        assert [pixels(archive.read(name)).max() for name in archive.namelist()] == [AFTER, 100]
    lost = toy.client.post("/api/zip", json={"results": [{"id": ids[0]}, {"id": "nowhere"}]})
    assert (lost.status_code, lost.json()["missing"]) == (404, ["nowhere"])
    none = toy.client.post("/api/zip", json={"results": []})
    assert (none.status_code, none.json()["error"]) == (
        422,
        "expected results for the archive, got none; name the id of at least one",
    )
    assert toy.client.post("/api/zip", json={"results": [{}]}).status_code == 422


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"strength": "1.5"}, "expected strength to be a number from 0 to 1, got '1.5'"),
        ({"strength": "nan"}, "expected strength to be a number from 0 to 1, got 'nan'"),
        ({"max_steps": "two"}, "expected max_steps to be a whole number from 1 to 100, got 'two'"),
        ({"mode": "sideways"}, "expected mode to be one of global, local, got 'sideways'"),
        ({"quality": "90"}, "quality goes with jpg, avif and webp, but the result is png: leave it out"),
        (
            {"colour": "x"},
            "unknown field 'colour': expected some of mode, max_steps, chain, only, never, views, strength, "
            "detail, format, quality",
        ),
    ],
)
def test_wrong_fields_are_told(toy: Live, grey: bytes, fields: dict[str, str], line: str) -> None:
    answer = toy.restore(grey, **fields)
    assert (answer.status_code, answer.json()) == (422, {"error": line})


def test_transparency_is_kept_or_refused_before_the_work(toy: Live) -> None:
    seen = png(np.full((16, 16, 4), 100, np.uint8))
    assert pixels(toy.restore(seen).content)[0, 0].tolist() == [AFTER] * 3 + [100]
    refused = toy.restore(seen, format="jpg")
    assert refused.status_code == 422
    assert "keeps the transparency of 'photo.png', got jpg" in refused.json()["error"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"no picture at all", "holds text, whatever its name"),
        (b"", "has zero bytes; get a fresh copy of it"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "is none that can be read"),
        (png(np.zeros((64, 64, 3), np.uint8), compress_level=0)[:5000], "truncated or damaged"),
        (png(np.zeros((4, 4, 3), np.uint8)), "at least 8×8 pixels"),
    ],
    ids=["text", "empty", "header alone", "truncated", "small"],
)
def test_a_file_that_lies_about_its_kind_is_told(toy: Live, grey: bytes, content: bytes, line: str) -> None:
    answer = toy.restore(content, "photo.jpg")
    assert answer.status_code == 422
    assert line in answer.json()["error"]
    assert toy.restore(grey, "in truth a PNG.jpg").status_code == 200  # and it goes on


def test_the_agent_is_overruled(toy: Live, grey: bytes) -> None:
    chain = toy.keep(grey, chain="keep, darken").json()["trace"]
    never = toy.keep(grey, never="darken,keep").json()["trace"]

    assert chain["tools"] == ["keep", "darken"]
    assert {step["chosen_by"] for step in chain["steps"]} == {"hand"}
    assert never["left_out"] == ["darken", "keep"]
    assert never["tools"] == ["brighten"]
    for fields in (
        {"chain": "sharpen"},
        {"never": "noise"},
        {"only": "blur"},
        {"chain": "keep", "only": "keep"},
    ):
        assert toy.restore(grey, **fields).status_code == 422


def test_a_fault_of_the_server_is_one_line_and_it_goes_on(
    grey: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with live(Broken()) as broken:
        answer = broken.restore(grey)
        assert broken.client.get("/healthz").json()["status"] == "ok"

    assert answer.status_code == 500
    assert answer.json() == {"error": "unexpected ZeroDivisionError in the server; its log says more"}
    assert "unexpected ZeroDivisionError: a fault of ours" in caplog.messages


def test_the_documentation_needs_nothing_from_elsewhere(toy: Live, root: Path) -> None:
    page = toy.client.get("/docs")
    paths = toy.client.get("/openapi.json").json()["paths"]
    fields = paths["/api/restore"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"][
        "properties"
    ]

    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert {"file", "strength", "detail", "mode", "format", "quality", "chain", "never"} < set(fields)
    for path in (root / "rlrestore" / "serve" / "page").iterdir():
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text and "//cdn" not in text, path.name  # noqa: PT018
        assert toy.client.get(f"/static/{path.name}").status_code == 200


def test_the_tools_and_the_bounds_are_listed(toy: Live) -> None:
    about = toy.client.get("/api/tools").json()
    assert [tool["name"] for tool in about["tools"]] == ["brighten", "darken", "keep"]
    assert about["bounds"] == {"megabytes": 100, "megapixels": 50, "waiting": 16, "seconds": 600}
    json.dumps(about, allow_nan=False)


def test_the_chain_in_words_when_nothing_helps(grey: bytes) -> None:
    with live(make_restorer([])) as idle:
        assert idle.keep(grey).json()["words"] == ["Unchanged: no tool was expected to gain enough."]


def test_local_mode_has_a_map_of_every_step(toy: Live, grey: bytes) -> None:
    answer = toy.keep(grey, mode="local").json()
    place = f"/api/results/{answer['id']}/maps"

    assert answer["legends"][0] == [{"tool": "brighten", "share": 1.0, "colour": "#d64541"}]
    seen = pixels(toy.client.get(f"{place}/1").content)
    assert seen.shape == (24, 32, 3)
    assert seen[0, 0, 0] > seen[0, 0, 1]  # red over grey
    assert toy.client.get(f"{place}/3").status_code == 404
    assert toy.keep(grey).json()["legends"] == []
