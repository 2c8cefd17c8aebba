"""Build hook of the documentation site: adds the pages that are rendered from the method index, the ledger and the command line."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from pairwright.core.index import entries
from pairwright.ledger import pages
from pairwright.ledger.status import ledger

ROOT = Path(__file__).parent.parent


def generated() -> dict[str, str]:
    """path below docs/ -> Markdown."""
    found = entries()
    papers = {p.id: p for p in ledger()}
    texts = {"methods/index.md": pages.methods_page(found), "papers/index.md": pages.ledger_page(list(papers.values()))}
    texts["choose.md"] = pages.choose_page(found)
    for kind in sorted({e.kind for e in found}):
        texts[pages.leaf_path(kind)] = pages.leaf_page(kind, [e for e in found if e.kind == kind])
    for id_ in sorted({p for e in found for p in e.papers}):
        serving = [e for e in found if id_ in e.papers]
        title = papers[id_].title if id_ in papers else next((e.card.title for e in serving if e.card.paper == id_), id_)
        texts[pages.paper_path(id_)] = pages.paper_page(id_, title, papers.get(id_), serving)
    texts["reference/cli.md"] = command_line()
    for name in ("CONTRIBUTING", "CHANGELOG"):
        texts[f"{name.lower()}.md"] = (ROOT / f"{name}.md").read_text(encoding="utf-8")
    card = ROOT / "src" / "pairwright" / "assets" / "sprout" / "README.md"
    if card.is_file():
        texts["sprout.md"] = card.read_text(encoding="utf-8")
    return texts


def command_line() -> str:
    """Reference of the commands, from the program itself."""
    from pairwright.cli.main import app

    return "# Command line\n\n" + app().generate_docs(output_format="markdown", heading_level=2)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put what is generated into the navigation: the leaves under Methods, papers under Papers, and what others lay into docs/world."""
    texts = generated()
    leaves = sorted(t for t in texts if t.startswith("methods/") and t != "methods/index.md")
    papers = sorted(t for t in texts if t.startswith("papers/") and t != "papers/index.md")
    assert config.nav is not None
    more: list[object] = [{"Methods": ["methods/index.md", *({t.removeprefix("methods/").removesuffix(".md"): t} for t in leaves)]}]
    more.append({"Papers": ["papers/index.md", *papers]})
    if "sprout.md" in texts:
        more.append({"The model sprout": "sprout.md"})
    world = sorted(p.relative_to(config.docs_dir).as_posix() for p in Path(config.docs_dir, "world").rglob("*.md"))
    if world:
        more.append({"The generated world": world})
    config.nav[4:4] = more
    config.watch.append(str(ROOT / "src" / "pairwright" / "_index.json"))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    return files
