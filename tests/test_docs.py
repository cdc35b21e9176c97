"""The documentation holds what the code holds."""

import importlib.util
import re
from pathlib import Path

import pytest

from channelscribe.profiles import PROFILES, STAGES
from channelscribe.settings import PROJECT_ROOT, Settings

DOCS = PROJECT_ROOT / "docs"
PROSE = sorted([*PROJECT_ROOT.glob("*.md"), *DOCS.glob("*.md")])


@pytest.fixture(scope="module")
def generator():
    found = importlib.util.spec_from_file_location("generate_docs", PROJECT_ROOT / "scripts" / "generate_docs.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["settings.md", "cli.md", "runbook.md"])
def test_generated_pages_are_up_to_date(generator, name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == generator.PAGES[name](), "run `make docs`"


def test_the_schema_page_is_up_to_date(generator, archive_dsn: str) -> None:
    assert (DOCS / "schema.md").read_text(encoding="utf-8") == generator.schema_page(archive_dsn), "run `make docs`"


def test_every_setting_is_in_the_example_file() -> None:
    example = (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8")
    missing = [name for name in Settings.model_fields if f"CHANNELSCRIBE_{name.upper()}=" not in example]
    assert not missing


def test_every_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_every_stage_and_model_is_in_the_documentation() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in PROSE)
    names = [*STAGES, *(spec.model for profile in PROFILES.values() for spec in profile.stages.values())]
    assert [name for name in names if name not in text] == []


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
