#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""man3.py HEADER FOLDER VERSION: man pages of a library (librdu, librduc) from its header's comments.

One mdoc page a section of the header (a line "---- devices ----"), librdu(3) or librduc(3)
from the comment on top, and for each call a file that sends man to its page.
"""
import os
import re
import sys
from mdoc import date, paragraphs, sentences, text, write

# By header: section, its page, what stands behind the page's name.
PAGES = {
    "rdu.h": {
        "": ("librdu", None),
        "devices": ("rdu_device", "cards, and models of cards"),
        "program files": ("rdu_file", "program files that rduc wrote"),
        "contexts": ("rdu_context", "tiles, an address space and a queue of a card"),
        "buffers": ("rdu_buffer", "memory that card and process both reach"),
        "programs": ("rdu_program", "load and run programs"),
    },
    "rduc.h": {
        "": ("librduc", None),
        "options": ("rduc_set", "options of a compiler"),
        "compiling": ("rduc_compile", "compile a model, and what that gives"),
    },
}


class Item:
    """A comment with the declarations that follow it."""

    def __init__(self, comment, doc):
        self.comment, self.doc, self.code = comment, doc, []

    def calls(self):
        for code in self.code:
            m = re.fullmatch(r"([^(){}]*?)(\w+)\(([^{}]*)\);", " ".join(code.split()))
            if m:  # an argument may be a function, with arguments of its own
                yield m[1].strip(), m[2], [a.strip() for a in re.split(r",(?![^()]*\))", m[3])]

    def types(self):
        return [c for c in self.code if not re.fullmatch(r"[^{}]*\(.*\);", c, re.S)
                and ("{" in c or c.startswith("#define"))]


def comment_lines(block):
    lines = block.strip()[2:-2].split("\n")
    return [re.sub(r"^\s*\* ?", "", line).rstrip() if i else line.lstrip("* ").rstrip()
            for i, line in enumerate(lines)]


def parse(header):
    """The comment on top, and [section, items] in the header's order."""
    top, rest = re.search(r"\*/\s*(/\*.*?\*/)(.*)", header, re.S).groups()
    body = rest[re.search(r"#define RDUC?_API_VERSION", rest).start():rest.rindex("#ifdef __cplusplus")]
    sections = [["", []]]
    item, after_blank, i = None, True, 0
    token = re.compile(r"\n[ \t]*\n|\s+|/\*.*?\*/|#define[^\n]*\n|[^;{]*(?:\{.*?\n\})?[^;{]*;", re.S)
    while i < len(body):
        m = token.match(body, i)
        i, t = m.end(), m[0]
        if not t.strip():
            after_blank |= "\n\n" in t
            continue
        title = re.fullmatch(r"/\* -+ (.*?) -+ \*/", t)
        if title:
            sections.append([title[1], []])
            item = None
        elif t.startswith("/*"):
            item = Item(comment_lines(t), t.startswith("/**"))
            sections[-1][1].append(item)
        else:
            if item is None or (after_blank and item.code):
                item = Item([], False)
                sections[-1][1].append(item)
            item.code.append(t.strip())
        after_blank = False
    return comment_lines(top), sections


def doc_parts(lines):
    """Summary, [(parameter, lines)], remaining lines of a kernel-doc comment."""
    lines = [l for i, l in enumerate(lines) if l or i]
    head, params = [], []
    while lines and lines[0] and not lines[0].startswith("@"):
        head.append(lines.pop(0))
    while lines and lines[0].startswith("@"):
        name, first = re.match(r"@(\w+): *(.*)", lines.pop(0)).groups()
        more = []
        while lines and lines[0] and not lines[0].startswith("@"):
            more.append(lines.pop(0))
        params.append((name, [first] + more))
    summary = re.sub(r"^[\w, ]+ - ", "", " ".join(head))
    return summary, params, lines


def literal(lines):
    width = min(len(l) - len(l.lstrip()) for l in lines if l.strip())
    return [".Bd -literal -offset indent"] + [text(l[width:]) for l in lines] + [".Ed"]


def param(lines):
    """A parameter's words; lines indented further than the others stay as they are."""
    base = min((len(l) - len(l.lstrip()) for l in lines[1:]), default=0)
    out, deep = [], []
    for l in lines:
        if l is not lines[0] and len(l) - len(l.lstrip()) > base:
            deep.append(l)
            continue
        if deep:
            out += literal(deep)
            deep = []
        if l.strip():
            out += sentences(l)
    return out + (literal(deep) if deep else [])


def synopsis(items):
    out = []
    for item in items:
        for ret, name, args in item.calls():
            out += [f'.Ft "{ret}"', f".Fo {name}"] + [f'.Fa "{a}"' for a in args] + [".Fc"]
    return out


def describe(item):
    names = [n for _, n, _ in item.calls()]
    if not names:
        return []
    out = [".Ss " + ", ".join(names)]
    if not item.doc:
        return out + paragraphs(item.comment) if item.comment else []
    summary, params, rest = doc_parts(item.comment)
    out.append(text(summary[:1].upper() + summary[1:] + "."))
    if params:
        out.append(".Bl -tag -width Ds")
        for name, lines in params:
            out += [f".It Fa {name}"] + param(lines)
        out.append(".El")
    rest = paragraphs(rest)
    return out + ([".Pp"] if rest else []) + rest


def types(items):
    out = []
    for item in items:
        for i, code in enumerate(item.types()):
            if not i and item.comment:
                out += ([".Pp"] if out else []) + paragraphs(item.comment)
            out += literal(code.replace("\t", "        ").split("\n"))
    return [".Sh TYPES"] + out if out else []


def page(name, title, names, items, extra, others):
    library, header = extra["library"], extra["header"]
    undocumented = [n for i in items for _, n, _ in i.calls() if not i.comment]
    out = [f".Dt {name.upper()} 3", ".Os", ".Sh NAME"]
    if name == library:
        out.append(f".Nm {library} ,")
    out += [f".Nm {n}" + (" ," if n != names[-1] else "") for n in names]
    out += [f".Nd {title}", ".Sh LIBRARY", f"{library} ({library}, \\-l{library[3:]})",
            ".Sh SYNOPSIS", f".In {header}"]
    # Not adjusted: groff 1.23 warns of lines of few words, and leaves holes in them.
    out += [".ad l"] + synopsis(items) + [".Sh DESCRIPTION"] + extra.get("intro", [])
    for item in items:
        out += describe(item)
    if undocumented:
        out += [".Ss " + ", ".join(undocumented), "Do what their names say."]
    out += types(items)
    out += [".Sh RETURN VALUES", "A function that returns", ".Vt int",
            "returns 0 or a count, and a negative error number when it fails;",
            *([f".Fn {library[3:]}_error_text"] if name == library
              else [f".Xr {library[3:]}_error_text 3"]),
            "of the object it was called on then tells why.",
            ".Sh ERRORS"] + extra["errors"]
    out += [".Sh SEE ALSO"]
    for o in sorted(o for o in others if o != name):
        out.append(f".Xr {o} 3 ,")
    i = max(k for k, l in enumerate(out) if l.endswith("3 ,"))
    out[i] = out[i][:-2]
    return out


def main():
    header, folder, version = sys.argv[1:]
    with open(header, encoding="utf-8") as f:
        top, sections = parse(f.read())
    stamp = date(header)
    # The comment on top: its first line names the library, one part lists errors.
    first = next(i for i, l in enumerate(top) if l)
    title = top[first].split(": ", 1)[1].rstrip(".")
    at = next(i for i, l in enumerate(top) if l.strip().startswith("-E"))
    end = next(i for i in range(at, len(top)) if not top[i].strip())
    errors = [".Bl -tag -width Er"]
    for l in top[at:end]:
        name, words = l.split(None, 1)
        errors += [f".It \\-{name[1:]}", *sentences(words)]
    errors.append(".El")
    intro = paragraphs(top[first + 1:at] + top[end:])
    pages = PAGES[os.path.basename(header)]
    os.makedirs(folder, exist_ok=True)
    others = [pages[s][0] for s, _ in sections]
    for (section, items), name in zip(sections, others):
        names = [n for i in items for _, n, _ in i.calls()]
        lines = page(name, pages[section][1] or title, names, items,
                     {"errors": errors, "intro": [] if section else intro,
                      "library": others[0], "header": os.path.basename(header)}, others)
        write(folder, f"{name}.3", stamp, version, lines)
        for n in names:
            if n != name:
                with open(os.path.join(folder, f"{n}.3"), "w", encoding="utf-8") as f:
                    f.write(f".so man3/{name}.3\n")


main()
