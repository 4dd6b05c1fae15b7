#!/usr/bin/env python3
"""Checks in which direction the files of a package import each other.

Usage: imports.py [PACKAGE_SOURCES ...]    (default: every package of LAYERS)

A file may import files of its own folder and of the folders below it in LAYERS, never of one above or beside it. No
files import each other in a circle. Test modules inside a file do not count.
"""

import collections
import pathlib
import re
import sys

# Folders of each package, from the top down. Folders of one line do not import each other. A file at the top of a
# package counts as a folder of its name; "*" stands for all others, which may import each other.
LAYERS = {
    "worker/core/src": [["lib"], ["migration"], ["protocol"], ["layout"], ["encoding"], ["sql"], ["planning"], ["decoding"], ["settings"], ["errors"]],
    "operator/core/src": [["lib"], ["decide"], ["deleting", "running", "recovering", "starting"], ["*"]],
    "operator/src": [["main"], ["run"], ["*"]],
    "crds/src": [["lib"], ["*"]],
    "worker/src": [["main"], ["lib"], ["cli"], ["publishing"], ["planning", "extraction"], ["source", "stores"], ["base"]],
}

TEST_MODULE = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([a-z:]+\))? )?mod \w+ \{.*\Z", re.S)
COMMENT = re.compile(r"//[^\n]*|\bpub\(in [^)]*\)")
USE = re.compile(r"\buse\s+([^;]+);")
PATH = re.compile(r"\b(?:crate|super|self)(?:::\w+)+")


def is_test(file):
    """Files of test modules, and programs beside the library."""
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


def imports(text, module, modules):
    """Modules of the package that a file names."""
    text = COMMENT.sub("", TEST_MODULE.sub("", text))
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


def check(sources, layers):
    """Messages about every import that breaks a rule."""
    files = {module_of(file, sources): file for file in sorted(sources.rglob("*.rs")) if not is_test(file)}
    rank = {folder: place for place, line in enumerate(layers) for folder in line}
    edges = {module: set(imports(file.read_text(), module, files)) for module, file in files.items()}
    edges = collections.defaultdict(set, edges)
    place = {module: rank.get(module[0], rank.get("*")) for module in files}
    for module, others in sorted(edges.items()):
        if place[module] is None:
            yield f"{files[module]}: the folder {module[0]} has no place in the layers"
            continue
        for other in sorted(others):
            apart = module[0] != other[0] and {module[0], other[0]} & set(rank)
            if apart and place.get(other) is not None and place[other] <= place[module]:
                yield f"{files[module]}: imports {'::'.join(other)}, which is not below {module[0]}"
    for group in circles(edges):
        yield f"{sources}: a circle of imports: {', '.join('::'.join(module) for module in group)}"


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    wanted = sys.argv[1:] or list(LAYERS)
    problems = [problem for name in wanted for problem in check(root / name, LAYERS.get(name, []))]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
