"""Make xlbench/analysis/languages.tsv: every language of Glottolog that has an ISO 639-3 code, its groups, its script.

    python scripts/make_languages.py GLOTTOLOG CLDR

GLOTTOLOG is a clone of glottolog/glottolog, CLDR one of unicode-org/cldr-json; what is read of them is what the tags
or commits in `SOURCES` hold. A line is a group or a language, after the group that it stands in: its glottocode, that
of its group, its ISO 639-3 code, its script (ISO 15924) and its name, with `-` for what it has not.
"""

import configparser
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

OUT = Path(__file__).parents[1] / "xlbench" / "analysis" / "languages.tsv"
GLOTTOLOG, CLDR = "v5.3", "b08a82b582f1120d630d623f9e5073316741574d"
SOURCES = (
    "# Classification, names and ISO 639-3 codes: Glottolog 5.3 (Hammarström, Forkel, Haspelmath & Bank, Max Planck "
    "Institute for Evolutionary Anthropology, Leipzig), repository glottolog/glottolog, tag v5.3, CC BY 4.0.",
    "# Scripts: Unicode CLDR 47, likelySubtags.json, repository unicode-org/cldr-json, commit "
    f"{CLDR}, Unicode License V3.",
    "# Written by scripts/make_languages.py; groups of languages that are no family (sign languages, pidgins and more "
    "that Glottolog files together) are left out, and what it has retired.",
)
NO_FAMILY = {"arti1236", "mixe1287", "pidg1258", "sign1238", "spee1234", "unat1236", "uncl1493"}
RETIRED = "book1242"
MACROLANGUAGES = {  # the group that a code of several languages stands for, where no member is the commonest
    "ful": "fula1264", "kon": "kiko1234", "nah": "azte1234", "oto": "otom1300", "que": "quec1387", "srd": "sard1257",
}  # fmt: skip


def languoids(clone: Path) -> dict[tuple[str, ...], tuple[str, str]]:
    """Name and ISO 639-3 code of every languoid, by its path of glottocodes from the family down."""
    archive = subprocess.run(
        ["git", "-C", str(clone), "archive", GLOTTOLOG, "languoids/tree"], check=True, capture_output=True
    ).stdout
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.endswith("/md.ini") else None
            if file is not None:
                read = configparser.RawConfigParser(strict=False)
                read.read_string(file.read().decode("utf-8"))
                found[tuple(member.name.split("/")[2:-1])] = read["core"]["name"], read["core"].get("iso639-3", "")
    return found


def scripts(clone: Path) -> dict[str, str]:
    """Script by language code, of two letters or three, where no region is named."""
    command = ["git", "-C", str(clone), "show", f"{CLDR}:cldr-json/cldr-core/supplemental/likelySubtags.json"]
    likely = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    tags = likely["supplemental"]["likelySubtags"]
    return {code: tag.split("-")[1] for code, tag in tags.items() if "-" not in code and tag.count("-") == 2}


def main() -> None:
    """Read both clones and write the file."""
    glottolog, cldr = map(Path, sys.argv[1:])
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from xlbench.language_codes import language_of

    named, script = languoids(glottolog), scripts(cldr)
    codes = {group: code for code, group in MACROLANGUAGES.items()}
    named = {path: (name, iso or codes.get(path[-1], "")) for path, (name, iso) in named.items()}
    kept = {}
    for path in sorted(named):
        if named[path][1] and path[0] != RETIRED:
            own = path[path[0] in NO_FAMILY :]
            for end in range(1, len(own) + 1):
                kept[own[:end]] = path[: len(path) - len(own) + end]
    lines = []

    def order(own: tuple[str, ...]) -> list[list[str]]:
        """By names, from the family down; the family of most tasks' sources first."""
        names = [named[kept[own[: end + 1]]][0] for end in range(len(own))]
        return [["" if name == "Indo-European" else name, code] for name, code in zip(names, own, strict=True)]

    for own in sorted(kept, key=order):
        name, iso = named[kept[own]]
        written = script.get(language_of(iso), script.get(iso, "-")) if iso else "-"
        lines.append("\t".join([own[-1], own[-2] if len(own) > 1 else "-", iso or "-", written, name]))
    OUT.write_text("\n".join([*SOURCES, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
