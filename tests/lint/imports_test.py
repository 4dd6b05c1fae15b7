"""What imports.py finds in a small package."""

import pathlib
import tempfile
import unittest

import imports

LAYERS = [["lib"], ["top"], ["left", "right"], ["*"]]
# Imports that no rule forbids.
CLEAN = {
    "lib.rs": "pub mod top; pub mod left; pub mod right; pub mod base;",
    "top.rs": "use crate::left::Left;\nuse crate::{base::Base, right};",
    "left.rs": "mod part;\npub use self::part::Left;",
    "left/part.rs": "use crate::base::Base;\npub(in crate::left) struct Left;",
    "right.rs": "// use crate::top::Top;\npub fn f() { crate::base::f() }",
    "base.rs": "#[cfg(test)]\nmod tests {\n    use crate::top::Top;\n}\n",
}


class Imports(unittest.TestCase):
    def problems(self, **changed):
        """Messages about CLEAN with some of its files changed, by their names without `.rs`."""
        with tempfile.TemporaryDirectory() as folder:
            sources = pathlib.Path(folder)
            for name, text in (CLEAN | {f"{name}.rs".replace("__", "/"): text for name, text in changed.items()}).items():
                (sources / name).parent.mkdir(exist_ok=True)
                (sources / name).write_text(text)
            return list(imports.check(sources, LAYERS))

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
        (problem,) = self.problems(left__part="use super::Left;")
        self.assertIn("a circle of imports: left, left::part", problem)

    def test_folder_without_a_place_is_found(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "new.rs").write_text("")
            (problem,) = imports.check(pathlib.Path(folder), LAYERS[:-1])
            self.assertIn("the folder new has no place in the layers", problem)


if __name__ == "__main__":
    unittest.main()
