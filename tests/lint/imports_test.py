"""What imports.py finds in small packages, and in copies of the real ones with one import added."""

import pathlib
import re
import shutil
import tempfile
import unittest

import imports

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYERS = {
    "": [["lib"], ["top"], ["left", "right"], ["*"]],
    "left": [["mod"], ["whole"], ["part", "piece"], ["*"]],
}
# Imports that no rule forbids.
CLEAN = {
    "lib.rs": "pub mod top; pub mod left; pub mod right; pub mod base;",
    "top.rs": "use crate::left::Left;\nuse crate::{base::Base, right};",
    "left.rs": "mod part; mod piece; mod whole; mod word;\npub use self::part::Left;",
    "left/part.rs": "use crate::base::Base;\nuse super::word;\npub(in crate::left) struct Left;",
    "left/piece.rs": "",
    "left/whole.rs": "use super::{part, piece};",
    "left/word.rs": "",
    "right.rs": "// use crate::top::Top;\npub fn f() { crate::base::f() }",
    "base.rs": "#[cfg(test)]\nmod tests {\n    use crate::top::Top;\n}\n",
}


class Imports(unittest.TestCase):
    def problems(self, **changed):
        """Messages about CLEAN with some of its files changed, by their names without `.rs`."""
        return self.problems_of(LAYERS, **changed)

    def problems_of(self, layers, **changed):
        """As `problems`, with other layers."""
        with tempfile.TemporaryDirectory() as folder:
            sources = pathlib.Path(folder)
            for name, text in (CLEAN | {f"{name}.rs".replace("__", "/"): text for name, text in changed.items()}).items():
                (sources / name).parent.mkdir(exist_ok=True)
                (sources / name).write_text(text)
            return list(imports.check(sources, layers))

    def test_clean_package_has_no_problem(self):
        self.assertEqual(self.problems(), [])

    def test_import_of_a_folder_above_is_found(self):
        for text in ("use crate::top::Top;", "fn f() { crate::top::g() }", "use crate::{base, top::Top};"):
            problem, *others = self.problems(base=text)
            self.assertIn("base.rs: imports top, which is not below base", problem)
            # `top` imports `base` too
            self.assertEqual(len(others), 1, others)

    def test_import_of_a_folder_beside_is_found(self):
        (problem,) = self.problems(left__part="use crate::right::f;")
        self.assertIn("part.rs: imports right, which is not below left", problem)

    def test_circle_inside_a_folder_is_found(self):
        (problem,) = self.problems(right="mod part;\npub use self::part::Right;", right__part="use super::Right;")
        self.assertIn("a circle of imports: right, right::part", problem)

    def test_import_of_a_file_beside_in_a_folder_with_layers_is_found(self):
        for text in ("use super::piece;", "use super::{piece::Piece, word};", "fn f() { super::piece::g() }"):
            (problem,) = self.problems(left__part=text)
            self.assertIn("part.rs: imports left::piece, which is not below left::part", problem)

    def test_import_of_a_file_above_in_a_folder_with_layers_is_found(self):
        (problem,) = self.problems(left__piece="use super::whole;")[:1]
        self.assertIn("piece.rs: imports left::whole, which is not below left::piece", problem)
        problem, *_ = self.problems(left__word="use super::part;")
        self.assertIn("word.rs: imports left::part, which is not below left::word", problem)

    def test_import_of_the_file_of_the_folder_from_inside_is_found(self):
        problem, *_ = self.problems(left__piece="use super::Left;")
        self.assertIn("piece.rs: imports left, which is not below left::piece", problem)

    def test_import_after_a_test_module_is_found(self):
        tests = "#[cfg(test)]\nmod tests {\n    use crate::top::Top;\n%s\n}\n"
        for inside in ("", "fn f() { g('{', '\\'', \"{\", r#\"\"{\"#, '}') } // {", "/* { */ fn f<'a>(x: &'a str) { x }"):
            problem, *_ = self.problems(base=tests % inside + "use crate::right::f;\n")
            self.assertIn("base.rs: imports right, which is not below base", problem)
            self.assertEqual(self.problems(base="fn f() {}\n" + tests % inside + "fn g() {}\n"), [])

    def test_names_in_strings_and_comments_do_not_count(self):
        self.assertEqual(self.problems(base='fn f() { g("use crate::top::Top;") /* crate::top::Top */ }'), [])

    def test_folder_without_a_place_is_found(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "new.rs").write_text("")
            (pathlib.Path(folder) / "lib.rs").write_text("")
            (problem,) = imports.check(pathlib.Path(folder), {"": [["lib"]]})
            self.assertIn("new.rs: new has no place in the layers", problem)

    def test_layer_of_a_file_that_does_not_exist_is_found(self):
        (problem,) = self.problems_of({"": LAYERS[""], "left": [["mod"], ["gone"], ["*"]]})
        self.assertIn("left::gone is in the layers, but there is no such file", problem)


class RealPackages(unittest.TestCase):
    """Each import that the house rules forbid is found in a copy of the sources."""

    def found(self, package, file, line):
        """Messages about the package if the line is the first of the file."""
        with tempfile.TemporaryDirectory() as folder:
            sources = pathlib.Path(folder) / "src"
            shutil.copytree(ROOT / package, sources)
            text = (sources / file).read_text()
            (sources / file).write_text(f"{line}\n{text}")
            return "\n".join(imports.check(sources, imports.LAYERS[package]))

    def test_stage_does_not_import_a_stage(self):
        found = self.found("worker/core/src", "protocol/claim.rs", "use super::publish;")
        self.assertIn("claim.rs: imports protocol::publish, which is not below protocol::claim", found)

    def test_transitions_do_not_import_a_stage(self):
        found = self.found("worker/core/src", "protocol/transitions.rs", "use super::revert;")
        self.assertIn("transitions.rs: imports protocol::revert", found)

    def test_credentials_do_not_import_an_engine(self):
        found = self.found("worker/src", "source/credentials.rs", "use super::postgres::guard;")
        self.assertIn("credentials.rs: imports source::postgres::guard, which is not below source::credentials", found)

    def test_an_engine_does_not_import_the_other(self):
        found = self.found("worker/src", "source/mysql/guard.rs", "use crate::source::postgres::guard;")
        self.assertIn("guard.rs: imports source::postgres::guard, which is not below source::mysql", found)

    def test_decision_imports_only_what_is_below_it(self):
        found = self.found("operator/core/src", "decision.rs", "use crate::retry::wait;")
        self.assertIn("decision.rs: imports retry, which is not below decision", found)

    def test_context_imports_only_what_is_below_it(self):
        found = self.found("operator/src", "context.rs", "use crate::leader::lead;")
        self.assertIn("context.rs: imports leader, which is not below context", found)


class Page(unittest.TestCase):
    def test_architecture_page_has_the_layers(self):
        """The page leaves out `lib.rs` and `main.rs`, and packages with no other layer."""
        page = (ROOT / "ARCHITECTURE.md").read_text().partition("| sources |")[2].partition("\n\n")[0]
        rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", page, re.M)
        shown = {name: [re.findall(r"`(\w+)`|(all others)", line) for line in text.split(" > ")] for name, text in rows}
        shown = {name: [[file or "*" for file, _ in line] for line in lines] for name, lines in shown.items()}
        layers = {}
        for package, folders in imports.LAYERS.items():
            for folder, lines in folders.items():
                lines = [[name for name in line if name not in ("lib", "main")] for line in lines]
                layers[f"{package}/{folder}".rstrip("/")] = [line for line in lines if line]
        layers = {name: lines for name, lines in layers.items() if lines != [["*"]]}
        self.assertEqual(shown, layers)


if __name__ == "__main__":
    unittest.main()
