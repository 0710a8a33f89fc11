"""Strict numerics for every test: float64 is available, and nothing is promoted or broadcast implicitly."""

import os
import shutil

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the suite's time is compilation of small programs. XLA splits each into up to 32 modules that it compiles in
# parallel; where the tests already run in parallel, a single module takes about 7 % less.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_parallel_codegen_split_count=1")

import hypothesis
import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile(
    "cnnjax", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("cnnjax")


@pytest.fixture
def float32_world():
    """JAX as a user finds it: 64-bit types off."""
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = ("no-sandbox", "disable-gpu", "disable-background-networking", "no-first-run")
SWITCHES += ("disable-component-update", "disable-sync")


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright, which drives the browser, is not installed"
    )
    if CHROMIUM is None:
        pytest.skip("no chromium on the path (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--{switch}" for switch in SWITCHES])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open an HTML file in a window; it may ask for nothing, and say nothing on the console."""
    contexts, complaints = [], []

    def open_page(document, width=1280, height=900, **settings):
        context = browser.new_context(
            viewport={"width": width, "height": height}, reduced_motion="reduce", offline=True, **settings
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url == document.as_uri() or complaints.append(request.url))
        page.goto(document.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
