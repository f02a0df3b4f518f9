"""One line for each argument in the API reference: an extension of Griffe, which reads the sources for mkdocstrings.

Docstrings say "threshold, surrogate: see ``Neuron``", so that each argument is described once. A reader of the
reference wants the description where the argument is: this splits such lines, and puts in what the other says.
"""

from __future__ import annotations

import copy
import re
from typing import Any, Dict, Iterator, List, Optional

import griffe

# "see ``Membrane``", "as in ``Leaky``; default 0.9": the rest stays behind what is put in
ELSEWHERE = re.compile(r"^(?:see|as in|as for|those of|of)\s+``([\w.]+)``(?:[.;,]\s*|$)", re.IGNORECASE)


class OneLineEach(griffe.Extension):
    """Gives every public class and function a complete list of arguments."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """When all of the package is read."""
        del kwargs
        if pkg.name != "spikecore":
            return
        functions_not_modules(pkg)
        methods_of_other_files(pkg)
        docstrings_of_modules(pkg)
        own_arguments_first(pkg)
        known = Descriptions(pkg)
        for thing in known.all:
            sections = known.sections(thing)
            if sections is not None:
                thing.docstring.__dict__["parsed"] = sections


def functions_not_modules(pkg: griffe.Module) -> None:
    """``spikegen.rate`` is the function, not the module of that name in which it lies."""
    for module in [m for m in pkg.modules.values() if not m.is_alias and "api" not in m.path.split(".")]:
        for name, member in list(module.members.items()):
            target = final(member)
            if member.is_alias and target is not None and target.is_module and name in target.members:
                module.set_member(name, griffe.Alias(name, target.members[name], parent=module))


def methods_of_other_files(pkg: griffe.Module) -> None:
    """``fit = fit`` in a class: a function of another file, which is a method there."""
    for kind in [each for each in walk(pkg) if each.is_class]:
        for name, member in list(kind.members.items()):
            written = kind.module.members.get(str(member.value)) if member.is_attribute else None
            target = None if written is None else final(written)
            if target is not None and target.is_function:
                method = copy.copy(target)
                method.parent = kind
                kind.members[name] = method


def docstrings_of_modules(pkg: griffe.Module) -> None:
    """``nn/__init__.pyi`` has the signatures of modules; their docstrings stand where they are written."""
    files = pkg["engines.torch.nn"].modules.values()
    written = {n: each for file in files for n, each in file.members.items() if not each.is_alias and each.is_class}
    for name, stub in pkg["nn"].members.items():
        target = written.get(name)
        if not stub.is_alias and stub.is_class and stub.docstring is None and target is not None:
            stub.docstring = griffe.Docstring(target.docstring.value, parent=stub) if target.docstring else None
            stub.bases = []
            for member in list(stub.members):
                if member != "__init__":
                    stub.del_member(member)


def own_arguments_first(pkg: griffe.Module) -> None:
    """Neurons take arguments by name: the signature of ``Leaky`` begins with beta; what all neurons have follows."""
    for kind in [each for each in walk(pkg) if each.is_class and "__init__" in each.members]:
        init = kind.members["__init__"]
        if init.is_function and any(base.name == "Stepper" for base in bases(kind)):
            ordered = sorted(init.parameters, key=lambda p: (p.name != "self", p.name not in kind.members))
            init.parameters = griffe.Parameters(*ordered)


def default_once(text: str, parameter: Any) -> str:
    """The description without the default that the page shows beside the argument's type."""
    if parameter is None or parameter.default is None:
        return text
    value = re.escape(str(parameter.default)).replace("'", "[\"']")
    return re.sub(rf"[,;]\s+default\s+{value}(?=[\s,;]|\.?$|\.\s)", "", text, count=1)


class Descriptions:
    """What docstrings say of arguments, wherever they say it."""

    def __init__(self, pkg: griffe.Module) -> None:
        self.all = [each for each in walk(pkg) if (each.is_class or each.is_function) and each.docstring]
        self.named: Dict[str, List[Any]] = {}
        self.read: Dict[str, Read] = {}
        for each in self.all:
            for key in (each.name, ".".join(each.path.split(".")[-2:])):
                self.named.setdefault(key, []).append(each)

    def sections(self, thing: Any) -> Optional[List[Any]]:
        """The docstring of `thing`, with one item for each argument; None if it has no list of arguments."""
        sections = thing.docstring.parse("google", warnings=False)
        for section in sections:
            if section.kind is griffe.DocstringSectionKind.text:  # "::" announces a literal block in other formats
                section.value = re.sub(r"::$", ":", section.value, flags=re.MULTILINE)
        parameters = {each.name: each for each in thing.parameters}
        listed = self.of(thing, ())
        if not listed:
            return sections
        items = [
            griffe.DocstringParameter(
                name,
                description=default_once(re.sub(r"::$", ":", text, flags=re.MULTILINE), parameters.get(name)),
                annotation=parameters[name].annotation if name in parameters else None,
                value=parameters[name].default if name in parameters else None,
            )
            for name, text in listed.items()
        ]
        own = [n for n, s in enumerate(sections) if s.kind is griffe.DocstringSectionKind.parameters]
        section = griffe.DocstringSectionParameters(items)
        if own:
            sections[own[0]] = section
        else:
            texts = [n for n, s in enumerate(sections) if s.kind is griffe.DocstringSectionKind.text]
            sections.insert(texts[0] + 1 if texts else 0, section)
        return sections

    def of(self, thing: Any, asked: tuple) -> Dict[str, str]:
        """The description of each argument of `thing`; for a class, also of those that its bases describe."""
        found: Dict[str, str] = {}
        if thing.path in asked:
            return found
        asked = (*asked, thing.path)
        if thing.path not in self.read:  # once, because many ask for the same
            self.read[thing.path] = Read(thing)
        read = self.read[thing.path]
        for listed, text in read.items:
            if listed == "Others":
                found.update(self.others(text, thing, found, asked))
                continue
            for place, name in enumerate(re.split(r",\s*", listed)):
                found[name] = self.resolved(name, text, thing, asked, place == 0)
        for base in read.bases:
            for name, text in self.of(base, asked).items():
                if name in read.names:
                    found.setdefault(name, text)
        return found

    def others(self, text: str, thing: Any, found: Dict[str, str], asked: tuple) -> Dict[str, str]:
        """What the docstrings that are named say of the arguments that are missing: "Others: see ``LIF``"."""
        missing = [name for name in self.read[thing.path].names if name not in found]
        said: Dict[str, str] = {}
        for name in re.findall(r"``([\w.]+)``", text):
            for other in self.nearest(name, thing):
                said = {**self.of(other, asked), **said}
        return {name: said[name] for name in missing if name in said}

    def nearest(self, name: str, thing: Any) -> List[Any]:
        """What has this name, nearest to `thing` first."""
        name = name[len("spikecore.") :] if name.startswith("spikecore.") else name
        return sorted(self.named.get(name, []), key=lambda each: -common(each.path, thing.path))

    def resolved(self, name: str, text: str, thing: Any, asked: tuple, first: bool) -> str:
        """The text, with what another docstring says of this argument in place of its name.

        What follows that name stands at the first of several arguments only: "a, b: as in ``X``. Both are counts."
        """
        elsewhere = ELSEWHERE.match(text)
        if not elsewhere:
            return text
        for other in self.nearest(elsewhere[1], thing):
            said = self.of(other, asked).get(name)
            if said:
                rest = text[elsewhere.end() :].strip() if first else ""
                return f"{said.rstrip().rstrip('.')}; {rest}" if rest else said
        return text


class Read:
    """What Griffe says of a class or a function, which takes it long: listed arguments, all arguments, bases."""

    def __init__(self, thing: Any) -> None:
        sections = thing.docstring.parse("google", warnings=False) if thing.docstring else ()
        lists = [s.value for s in sections if s.kind is griffe.DocstringSectionKind.parameters]
        self.items = [(item.name, item.description) for items in lists for item in items]
        self.names = [each.name for each in thing.parameters]
        self.bases = list(bases(thing)) if thing.is_class else []


def bases(thing: Any) -> Iterator[Any]:
    """The classes of ours that `thing` derives from, nearest first."""
    try:
        yield from (base for base in thing.mro() if base.path.startswith("spikecore."))
    except ValueError:  # a base that Griffe cannot order
        return


def walk(thing: Any) -> Iterator[Any]:
    """Everything in a package that is defined there."""
    for member in thing.members.values():
        if not member.is_alias:
            yield member
            if member.is_module or member.is_class:
                yield from walk(member)


def final(member: Any) -> Any:
    """What a name stands for; None if this lies in another package."""
    if not member.is_alias:
        return member
    try:
        return member.final_target
    except (griffe.AliasResolutionError, griffe.CyclicAliasError):
        return None


def common(one: str, other: str) -> int:
    """How many parts two dotted names share at their beginning."""
    count = 0
    for left, right in zip(one.split("."), other.split(".")):
        if left != right:
            break
        count += 1
    return count
