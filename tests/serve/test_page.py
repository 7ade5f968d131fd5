"""The page, in a real browser without a window."""

import io
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.patience import PATIENCE_S
from tests.serve.conftest import png
from tests.serve.live import Live, live
from tests.serve.stubs import Patient

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs a browser: apt-get install chromium chromium-driver",
)
IS_ALIGNED = """
const [before, after] = ['before', 'after'].map((id) => document.getElementById(id).getBoundingClientRect());
return ['left', 'top', 'width', 'height'].every((side) => before[side] === after[side]) ? before.width : null;
"""
SHOWN = """
const [before, after] = ['before', 'after'].map((id) => document.getElementById(id));
return before.src.includes('/api/results/') && before.complete && after.complete && after.naturalWidth;
"""
DEALT_WITH = """
const items = [...document.querySelectorAll('#strip li')];
return items.length === arguments[0] && items.every((item) => item.querySelector('progress').hidden);
"""


class Page:
    """What a person does on the page, and sees."""

    def __init__(self, driver: webdriver.Chrome, url: str, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads
        driver.get(url)
        self.wait(lambda: self.one("body[data-ready]"))

    def one(self, selector: str) -> WebElement:
        """Return the element, which must be there."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def wait(self, look: Callable[[], Any]) -> Any:
        """Wait until there is something to see."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                seen = look()
            except Exception:
                if time.monotonic() > until:
                    raise
                seen = None
            if seen:
                return seen
            assert time.monotonic() < until, "it never came"
            time.sleep(0.05)

    def add(self, *paths: Path) -> None:
        """Choose files, and wait until every one is dealt with."""
        chooser = "#files" if self.one("#drop").is_displayed() else "#more"
        count = len(self.driver.find_elements(By.CSS_SELECTOR, "#strip li")) + len(paths)
        self.one(chooser).send_keys("\n".join(map(str, paths)))
        self.wait(lambda: self.driver.execute_script(DEALT_WITH, count))

    def downloaded(self, name: str) -> bytes:
        """Wait for a download; return it."""
        self.wait((self.downloads / name).exists)
        return (self.downloads / name).read_bytes()

    def box(self, selector: str) -> dict[str, float]:
        """Return where an element lies in the window."""
        box: dict[str, float] = self.driver.execute_script(
            "return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", selector
        )
        return box


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def driver(downloads: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")  # nothing from elsewhere
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    browser = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    browser.set_window_size(1200, 900)
    yield browser
    browser.quit()


@pytest.fixture
def page(driver: webdriver.Chrome, toy: Live, downloads: Path) -> Page:
    return Page(driver, toy.url, downloads)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs, the second larger than the page, and one that is none."""
    folder = tmp_path_factory.mktemp("files")
    for name, height, width in (("one", 60, 90), ("two", 560, 900)):
        (folder / f"{name}.png").write_bytes(png(np.full((height, width, 3), 100, np.uint8)))
    (folder / "lies.jpg").write_text("no picture at all", "utf-8")
    return folder


def test_what_was_done_is_told_and_a_bad_file_is_too(page: Page, files: Path) -> None:
    page.add(files / "one.png", files / "lies.jpg")

    words = [item.text for item in page.driver.find_elements(By.CSS_SELECTOR, "#words li")]
    assert words[0] == "First: brighten takes noise away (made for σ 0 to 50 of 255), +1.00 dB expected."
    assert page.one("#size").text == "90 × 60 pixels"
    assert "'lies.jpg' holds text" in page.one("#say").text
    good, bad = page.driver.find_elements(By.CSS_SELECTOR, "#strip button")
    said = bad.find_element(By.TAG_NAME, "span")
    assert said.text.startswith("expected an image file, but 'lies.jpg' holds text")
    assert page.driver.execute_script("return arguments[0].scrollWidth <= arguments[0].clientWidth", said)
    assert good.find_element(By.TAG_NAME, "span").text == "brighten > darken"
    bad.click()
    assert "holds text" in page.one("#wait-text").text
    assert not page.one("#done").is_displayed()


def test_both_sides_stay_aligned_while_it_is_zoomed_and_moved(page: Page, files: Path) -> None:
    page.add(files / "two.png")
    page.wait(lambda: page.driver.execute_script(SHOWN))

    for zoom, width in (("fit", None), ("1", 900), ("2", 1800)):
        page.one(f"[data-zoom='{zoom}']").click()
        aligned = page.driver.execute_script(IS_ALIGNED)
        assert aligned is not None
        if width is not None:
            assert aligned == width
            assert page.one("#zoom").text == f"{int(zoom) * 100} %"
    before = page.box("#before")
    page.one("#viewport").send_keys(Keys.ARROW_RIGHT)
    after = page.box("#before")
    assert (after["left"] - before["left"], after["top"] - before["top"]) == (-60, 0)
    assert page.driver.execute_script(IS_ALIGNED) == 1800
    page.one("#viewport").send_keys("0")
    assert page.box("#before")["width"] <= page.box("#viewport")["width"]


def test_the_slider_moves_by_mouse_and_by_keyboard(page: Page, files: Path) -> None:
    page.add(files / "one.png")
    split, frame = page.one("#split"), page.box("#viewport")
    webdriver.ActionChains(page.driver, duration=0).drag_and_drop_by_offset(split, 100, 0).perform()
    middle = page.box("#split")["left"] + page.box("#split")["width"] / 2 - frame["left"]
    dragged = int(split.get_attribute("aria-valuenow") or 0)
    split.send_keys(Keys.ARROW_RIGHT)

    assert middle == pytest.approx(frame["width"] / 2 + 100, abs=1.5)
    assert split.get_attribute("aria-valuenow") == str(dragged + 2)
    split.send_keys(Keys.HOME)
    assert page.one("#clip").value_of_css_property("clip-path").endswith("0px)")
    split.send_keys(Keys.END)
    assert "90px" in page.one("#clip").value_of_css_property("clip-path")  # nothing of the result is seen


def test_the_strength_answers_at_once_and_is_downloaded(page: Page, files: Path) -> None:
    page.add(files / "one.png", files / "two.png")
    page.wait(lambda: page.driver.execute_script(SHOWN))
    strength = page.one("#strength")
    page.driver.execute_script(
        "arguments[0].value = 50; arguments[0].dispatchEvent(new Event('input'))", strength
    )
    shot = page.one("#viewport").screenshot_as_png
    page.one("#save").click()
    one = page.downloaded("one_restored.png")
    page.one("#strength-all").click()
    page.one("#save-all").click()

    assert page.one("#strength-value").text == "50 %"
    assert page.one("#made").value_of_css_property("opacity") == "0.5"
    with Image.open(io.BytesIO(one)) as picture:
        assert np.unique(np.asarray(picture)).tolist() == [108]
    with zipfile.ZipFile(io.BytesIO(page.downloaded("restored.zip"))) as archive:
        assert archive.namelist() == ["one_restored.png", "two_restored.png"]
    with Image.open(io.BytesIO(shot)) as seen:  # just right of the border, and just left
        width, height = seen.size
        colours = [seen.getpixel((width // 2 + way * 35, height // 2)) for way in (1, -1)]
    assert [colour[0] for colour in colours if isinstance(colour, tuple)] == pytest.approx([108, 100], abs=1)


def test_detail_is_fetched_once_and_then_answers_at_once(page: Page, files: Path) -> None:
    page.add(files / "one.png")
    assert page.one("#detailed").get_attribute("src") is None
    for value in (30, 60):
        move = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
        page.driver.execute_script(move, page.one("#detail"), value)
    page.wait(lambda: page.one("#detailed").get_property("naturalWidth"))
    assert "detail=1&" in str(page.one("#detailed").get_attribute("src"))
    assert page.one("#detailed").value_of_css_property("opacity") == "0.6"
    assert page.one("#detail-value").text == "60 %"


def test_a_restoration_is_cancelled(page: Page, downloads: Path, files: Path) -> None:
    patient = Patient()
    with live(patient) as server:
        slow = Page(page.driver, server.url, downloads)
        slow.one("#files").send_keys(str(files / "one.png"))
        assert patient.begun.wait(PATIENCE_S)
        slow.wait(lambda: slow.one("#wait-bar").get_property("value") == 0.5)
        slow.one("#cancel").click()
        assert patient.cancelled.wait(PATIENCE_S)
        assert "cancelled" in slow.one("#wait-text").text
        assert slow.one("#redo").is_enabled()


def test_two_tabs_work_beside_each_other(page: Page, toy: Live, files: Path) -> None:
    first = page.driver.current_window_handle
    page.one("#files").send_keys(str(files / "two.png"))
    page.driver.switch_to.new_window("tab")
    other = Page(page.driver, toy.url, page.downloads)
    other.add(files / "one.png")
    assert other.one("#size").text == "90 × 60 pixels"
    page.driver.close()
    page.driver.switch_to.window(first)
    page.wait(lambda: page.one("#size").text == "900 × 560 pixels")


def test_what_the_server_forgot_is_restored_again(page: Page, toy: Live, files: Path) -> None:
    page.add(files / "one.png")
    page.wait(lambda: page.driver.execute_script(SHOWN))
    source = page.one("#before").get_attribute("src") or ""
    toy.client.delete(f"/api/results/{source.split('/')[-1].split('?')[0]}")
    page.one("#save").click()
    page.wait(
        lambda: source != page.one("#before").get_attribute("src") and page.driver.execute_script(SHOWN)
    )
    assert page.one("#done").is_displayed()


def test_nothing_reaches_beyond_a_phone_and_only_its_own_server_is_asked(page: Page, files: Path) -> None:
    size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.add(files / "one.png", files / "two.png")
    wide = page.driver.execute_script("return document.documentElement.scrollWidth")
    asked = page.driver.execute_script(
        "return performance.getEntriesByType('resource').map((one) => one.name)"
    )
    page.one("[data-zoom='1']").click()
    across = page.box("#before")["width"]
    page.one("#detail").send_keys(Keys.ARROW_RIGHT)  # which scrolls there
    seen, slider = page.box("#view"), page.box("#detail")
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    assert wide == 360
    assert across == 45  # 90 pixels of the screen, two of which are one of CSS
    assert seen["top"] == 0
    assert seen["bottom"] <= slider["top"] < 740
    assert asked
    assert all(name.startswith((page.driver.current_url, "blob:")) for name in asked)


def test_the_agent_is_overruled(page: Page, files: Path) -> None:
    page.add(files / "one.png")
    page.one("#again summary").click()
    page.one(".tools input").click()
    page.one("#redo").click()
    page.wait(lambda: "Unchanged" in page.one("#words").text)
    page.one("#chain").send_keys("keep, brighten")
    page.one(".tools input").click()
    page.one("#redo").click()
    page.wait(lambda: "that was the chain that was asked for" in page.one("#words").text)


def test_other_chains_are_tried_by_a_button_and_the_agents_own_comes_back(page: Page, files: Path) -> None:
    def press(name: str) -> None:
        page.wait(lambda: page.one("#others").is_displayed())
        buttons = page.driver.find_elements(By.CSS_SELECTOR, "#others button")
        {button.text: button for button in buttons}[name].click()

    page.add(files / "one.png")
    press("one tool fewer")
    page.wait(lambda: "that was the chain that was asked for" in page.one("#words").text)
    assert len(page.driver.find_elements(By.CSS_SELECTOR, "#words li")) == 2
    assert page.driver.switch_to.active_element.get_attribute("id") == "viewport"
    press("as the agent chooses")
    page.wait(lambda: len(page.driver.find_elements(By.CSS_SELECTOR, "#words li")) == 3)
    press("region by region")
    page.wait(lambda: page.one("#where").is_displayed())


def test_the_documentation_is_drawn(page: Page) -> None:
    page.driver.get(f"{page.driver.current_url}docs")
    page.wait(lambda: "POST /api/restore" in page.one("#routes").text)
    assert "How much of the change is kept" in page.one("#routes").text
