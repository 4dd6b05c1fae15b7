#!/usr/bin/env python3
"""Checks in which direction the files of a package import each other.

Usage: imports.py [PACKAGE_SOURCES ...]    (default: every package of LAYERS)

A file may import files of its own folder and of the folders below it in LAYERS, never of one above it or of the same level. The
same applies to the files of a folder that has layers of its own. No files import each other in a circle. Test modules
inside a file, comments and strings do not count.
"""

import collections
import pathlib
import re
import sys

# Layers of each package (""), and of the folders in it whose files have an order too, from the top down. Folders and
# files of one line do not import each other. A file counts as a folder of its name, and the file of the folder itself
# as "mod". "*" stands for all others, which may import each other.
LAYERS = {
    "worker/core/src": {
        "": [["lib"], ["migration"], ["protocol"], ["layout"], ["encoding"], ["sql"], ["planning"], ["decoding"], ["settings"], ["errors"]],
        "protocol": [
            ["mod"],
            # the steps of a run
            ["claim", "plan", "extract", "publish", "fail", "cleanup", "sweep", "orphans", "recover", "revert"],
            ["enter"],
            ["*"],
        ],
    },
    "operator/core/src": {
        "": [
            ["lib"],
            ["decide"],
            ["deleting", "running", "recovering", "starting"],
            ["concluding"],
            ["postponed", "recover_jobs"],
            ["in_doubt", "mirror", "reports", "request", "retry"],
            ["decision"],
            ["*"],
        ],
    },
    "operator/src": {
        "": [
            ["main"],
            ["run"],
            ["postponed", "health", "help", "leader"],
            ["watches"],
            ["reconcile", "watermarks"],
            ["effects", "observed"],
            ["report"],
            ["context"],
            ["*"],
        ],
    },
    "crds/src": {"": [["lib"], ["*"]]},
    "worker/src": {
        "": [["main"], ["lib"], ["cli"], ["publishing"], ["planning", "extraction"], ["source", "stores"], ["base"]],
        "source": [
            ["mod"],
            ["rows", "ending", "watch", "queries"],
            ["filtering"],
            ["database", "doubts"],
            ["postgres", "mysql"],
            ["credentials", "stream", "second", "condition"],
            ["tls"],
            ["login", "backend", "goodbye", "own_socket", "chunks", "table"],
            ["errors", "tokens", "timeouts"],
            ["certificates", "secret"],
        ],
    },
}

TEST_MODULE = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([a-z:]+\))? )?mod \w+ \{")
# Comments, strings (raw or not) and characters: they may contain braces and names.
LITERAL = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\bb?r(#*)".*?"\1|"(?:\\.|[^"\\])*"|'(?:\\(?:u\{[^}]*\}|x..|.)|[^\\'])'""", re.S
)
VISIBILITY = re.compile(r"\bpub\(in [^)]*\)")
USE = re.compile(r"\buse\s+([^;]+);")
PATH = re.compile(r"\b(?:crate|super|self)(?:::\w+)+")


def is_test(file):
    """Files of test modules, and other programs of the package."""
    return file.name == "tests.rs" or bool({"tests", "bin"} & set(file.parts[-3:-1]))


def module_of(file, sources):
    """Path of modules, such as ('mysql', 'rows')."""
    parts = list(file.relative_to(sources).with_suffix("").parts)
    return tuple(parts[:-1] if parts[-1] == "mod" else parts)


def expand(tree):
    """Single paths of a `use` tree."""
    tree = tree.strip()
    match = re.match(r"(.*?)\{(.*)\}$", tree, re.S)
    if not match:
        return [tree.split(" as ")[0].strip()]
    paths, depth, start = [], 0, 0
    inner = match[2] + ","
    for at, character in enumerate(inner):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            if inner[start:at].strip():
                paths += [match[1] + path for path in expand(inner[start:at])]
            start = at + 1
    return paths


def code(text):
    """The text without comments, literals and test modules."""
    text = LITERAL.sub(" ", text)
    while match := TEST_MODULE.search(text):
        end, depth = match.end(), 1
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        text = text[: match.start()] + text[end:]
    return VISIBILITY.sub("", text)


def imports(text, module, modules):
    """Modules of the package that a file names."""
    text = code(text)
    paths = [path for tree in USE.findall(text) for path in expand(tree)]
    paths += PATH.findall(USE.sub("", text))
    for path in paths:
        parts = re.sub(r"\s", "", path).split("::")
        if parts[0] == "crate":
            base, parts = (), parts[1:]
        elif parts[0] in ("self", "super"):
            base = module
            while parts and parts[0] in ("self", "super"):
                base, parts = base if parts[0] == "self" else base[:-1], parts[1:]
        elif module + (parts[0],) in modules:
            base = module
        else:
            continue
        found = base + tuple(parts)
        while found and found not in modules:
            found = found[:-1]
        if found and found != module:
            yield found
        elif not found and module not in ((), ("lib",), ("main",)):
            yield ("lib",)


def circles(edges):
    """Groups of modules that reach each other (Tarjan)."""
    index, low, stack, on_stack, found = {}, {}, [], set(), []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        on_stack.add(module)
        for other in edges[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in on_stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            group = []
            while not group or group[-1] != module:
                group.append(stack.pop())
                on_stack.discard(group[-1])
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(edges):
        if module not in index:
            visit(module)
    return found


def check_layers(folder, layers, files, edges):
    """Messages about the imports between the files of a folder that break its layers."""
    rank = {name: place for place, line in enumerate(layers) for name in line}
    # the files of the folder, each with the name that it has in the layers
    names = {module: (module[len(folder) :] or ("mod",))[0] for module in files if module[: len(folder)] == folder}
    for name in sorted(set(rank) - set(names.values()) - {"*"}):
        yield f"{'::'.join((*folder, name))} is in the layers, but there is no such file"
    place = {module: rank.get(name, rank.get("*")) for module, name in names.items()}
    for module, name in sorted(names.items()):
        if place[module] is None:
            yield f"{files[module]}: {'::'.join((*folder, name))} has no place in the layers"
            continue
        for other in sorted(edges[module] & set(names)):
            apart = name != names[other] and {name, names[other]} & set(rank)
            if apart and place[other] is not None and place[other] <= place[module]:
                yield f"{files[module]}: imports {'::'.join(other)}, which is not below {'::'.join((*folder, name))}"


def check(sources, layers):
    """Messages about every import that breaks a rule."""
    files = {module_of(file, sources): file for file in sorted(sources.rglob("*.rs")) if not is_test(file)}
    edges = {module: set(imports(file.read_text(), module, files)) for module, file in files.items()}
    edges = collections.defaultdict(set, edges)
    for folder, lines in layers.items():
        yield from check_layers(tuple(filter(None, folder.split("/"))), lines, files, edges)
    for group in circles(edges):
        yield f"{sources}: a circle of imports: {', '.join('::'.join(module) for module in group)}"


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    wanted = sys.argv[1:] or list(LAYERS)
    problems = [problem for name in wanted for problem in check(root / name, LAYERS.get(name, {}))]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
