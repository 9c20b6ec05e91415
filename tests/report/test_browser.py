"""The page in a browser: light and dark, wide and narrow, and Chinese glyphs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from electra_zh.report import plots, write
from support.reports import write_results, write_run

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")


def _shot(page: Path, *flags: str, width: int, height: int = 2400) -> np.ndarray:
    """Returns the page as uint8 [height, width, 3]."""
    image = page.with_suffix(".png")
    command = [
        *(str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *(f"--user-data-dir={page.parent / 'profile'}", *flags),
        *(f"--window-size={width},{height}", f"--screenshot={image}", page.as_uri()),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return np.asarray(Image.open(image).convert("RGB"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run and of results with Chinese names."""
    folder = tmp_path_factory.mktemp("browser")
    write_run(folder / "a", steps=200, done=200)
    write_results(folder / "tuned", {"足球": [50, 52]})
    sources = write.find_sources([str(folder)])
    contents = write.make_contents(sources, language="zh")
    write.write_page(str(folder / "report.html"), contents, sources, language="zh")
    return folder / "report.html"


def test_the_background_follows_the_theme_and_curves_are_drawn_in_both(page: Path) -> None:
    light, dark = (_shot(page, *flags, width=1200) for flags in ((), ("--force-dark-mode",)))
    assert np.median(light) > 240
    assert np.median(dark) < 60
    for shot in (light, dark):
        red, green, blue = (shot[..., channel].astype(int) for channel in range(3))
        is_series = (blue > red + 60) & (blue > green + 20)
        assert is_series.sum() > 2000


def test_nothing_is_cut_off_on_a_narrow_screen(page: Path) -> None:
    shot = _shot(page, width=500)
    # The margin at the right is empty but for lines between sections and what is scrolled.
    margin = shot[:, -6:].astype(int)
    assert (np.abs(margin - np.median(margin)).max(axis=(1, 2)) > 40).mean() < 0.02


def test_chinese_glyphs_are_drawn(page: Path) -> None:
    if plots.cjk_font() is None:
        pytest.skip("needs a font with Chinese characters")
    text = page.read_text("utf-8")
    other = page.with_name("other.html")
    other.write_text(text.replace("足球", "美食"), "utf-8")
    first, second = (_shot(each, width=1200, height=5000) for each in (page, other))
    assert first.shape == second.shape
    assert (first != second).any()
