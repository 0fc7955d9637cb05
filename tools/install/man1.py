#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""man1.py PAGE.1.in PROGRAM FOLDER VERSION: a man page of a program.

PAGE.1.in is mdoc. A line "@options@" in it becomes the options that `PROGRAM
--help` lists, "@commands@" the commands it lists, each with what `PROGRAM
COMMAND --help` says.
"""
import os
import re
import subprocess
import sys
from mdoc import date, sentences, text, write

PACKED = re.compile(r"(?:^|(?<= ))(--[-\w]+ [^\s-]\S*)(.*?)(?=$| --\w)")


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")


def options(lines):
    """The indented lines of a help text: a list; the others: paragraphs."""
    out, listing, at = [], False, 0  # at: where the last item begins

    def close():
        nonlocal listing
        if listing:
            out.append(".El")
        listing = False

    def item(tag):
        nonlocal listing
        if not listing:
            out.append(".Bl -tag -width Ds")
        listing = True
        out.append(".It " + re.sub(r"\s+", " ", text(tag.strip())))

    for line in lines:
        words = line.strip()
        if not words:
            continue
        indent = len(line) - len(line.lstrip())
        packed = PACKED.findall(words) if words.startswith("-") else []
        m = re.match(r"( *)((?:\S| (?! ))+)(?: {2,}(\S.*))?$", line)
        if listing and indent > at + 4 and not words.startswith("-"):
            out += sentences(words)
        elif len(packed) > 1:
            # Several options on a line.
            for name, rest in packed:
                item(name)
                if rest.strip():
                    out.append(text(rest.strip()))
            at = indent
        elif indent and m:
            tight = not m[3] and re.match(r"(--[-\w]+ \S+) (\w+ .+)$", words)
            item(tight[1] if tight else m[2])
            at = indent
            if tight:
                out.append(text(tight[2]))
            elif m[3]:
                out += sentences(m[3])
        else:
            if listing:
                close()
                out.append(".Pp")
            out += sentences(words)
    close()
    return out


def command(program, name):
    lines = said(program, name, "--help")
    usage = lines[0].split(": ", 1)[1].strip()
    about = lines[2].split(": ", 1)[1]
    rest = options(lines[3:])
    return [f".Ss {name}", ".Bd -literal -offset indent", text(usage), ".Ed", ".Pp",
            text(about[:1].upper() + about[1:] + "."), ] + \
        ([".Pp"] if rest and not rest[0].startswith(".Bl") else []) + rest


def main():
    source, program, folder, version = sys.argv[1:]
    out = []
    with open(source, encoding="utf-8") as f:
        for line in f.read().rstrip("\n").split("\n"):
            if line.startswith('.\\"'):
                continue
            if line == "@options@":
                lines = said(program, "--help")
                out += options(lines[lines.index(""):])
            elif line == "@commands@":
                for l in said(program, "--help"):
                    m = re.match(r"  ([\w-]+)  +\S", l)
                    if m:
                        out += command(program, m[1])
            else:
                out.append(line)
    os.makedirs(folder, exist_ok=True)
    write(folder, os.path.basename(source)[:-len(".in")], date(source), version, out)


main()
