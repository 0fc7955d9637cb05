# SPDX-License-Identifier: MIT
"""Words to mdoc."""
import datetime
import os
import re


def date(path):
    """Of the source a page is made from, or SOURCE_DATE_EPOCH."""
    when = int(os.environ.get("SOURCE_DATE_EPOCH", os.stat(path).st_mtime))
    d = datetime.datetime.fromtimestamp(when, datetime.timezone.utc)
    return f"{d:%B} {d.day}, {d.year}"


def text(line):
    """A line of words: @name in italics, call() in bold, nothing taken for a macro."""
    line = line.replace("\\", "\\e")
    line = re.sub(r"(?<![\w-])-(?=[\w-])", r"\\-", line)
    line = re.sub(r"(?<=\\-)-", r"\\-", line)
    line = re.sub(r"@(\w+)", r"\\fI\1\\fP", line)
    line = re.sub(r"\b(rdu_\w+)\(\)", r"\\fB\1\\fP()", line)
    return "\\&" + line if line[:1] in ".'" else line


def sentences(line):
    """The same, each sentence on a line of its own as mdoc wants it."""
    return [text(s) for s in re.split(r"(?<=[a-zA-Z0-9)\"]\.) +(?=[A-Z])", line.strip())]


def paragraphs(lines):
    """Paragraphs; those indented with a tab are code, "key    words" lines a table."""
    out, code = [], []
    lines = list(lines)
    while lines and not lines[-1]:
        lines.pop()

    def flush():
        while code and not code[-1]:
            code.pop()
        if code:
            out.extend([".Bd -literal -offset indent"] +
                       [text(l[1:].replace("\t", "        ")) for l in code] + [".Ed"])
        code.clear()

    for line in lines:
        if line.startswith("\t") or (code and not line):
            code.append(line)
            continue
        if code:
            flush()
            out.append(".Pp")
        if line:
            out += sentences(line)
        elif out and out[-1] != ".Pp":
            out.append(".Pp")
    flush()
    while out and out[-1] == ".Pp":
        out.pop()
    # No paragraph break right before a display: it makes its own.
    return [l for i, l in enumerate(out)
            if not (l == ".Pp" and i + 1 < len(out) and out[i + 1].startswith(".Bd"))]


def write(folder, name, stamp, version, lines):
    head = ['.\\" Made from the source by tools/install; do not edit.', f".Dd {stamp}"]
    lines = [f".Os rdu {version}" if l == ".Os" else l for l in lines]
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.write("\n".join(head + lines) + "\n")
