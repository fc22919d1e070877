"""Experiment files: overrides, variants, checks, and the resolved text."""

import pytest

from cortexc.compiler.experiments.config import load_experiment, parse_value
from cortexc.compiler.experiments.files import shipped_experiments
from cortexc.compiler.ir import CortexError

BASE = {"model": {"circuit": "pal", "layers": [4, 30, 3], "variants": {"FA": {"eta_PI": 0, "sigma": 0}}, "eta_PI": 2}}


def test_every_shipped_experiment_loads_and_reads_back():
    assert set(shipped_experiments()) >= {"pal_digits", "pal_yinyang", "pal_mnist", "pal_fig4ab", "pal_fig3abc",
                                          "pal_fig3def"}
    for name in shipped_experiments():
        experiment = load_experiment(name)
        assert experiment.name == name and experiment.description


@pytest.mark.parametrize("name, key, value", [
    ("pal_digits", "validation", ""), ("pal_fig4ab", "first_seed", 7), ("pal_mnist", "validation", "")])
def test_the_resolved_text_reads_back(name, key, value, tmp_path):
    experiment = load_experiment(name, [f"protocol.{key}={value!r}", "protocol.train_gates=[]", "run.seeds=[3, 4]"])
    (tmp_path / "experiment.toml").write_text(experiment.text())
    again = load_experiment(tmp_path)
    assert again.tables() == experiment.tables()
    assert again.protocol.train_gates == [] and getattr(again.protocol, key) == value
    assert again.sha256() == experiment.sha256()


def test_variant_keys_apply_but_give_way_to_overrides():
    assert load_experiment(BASE).model.options["eta_PI"] == [2.0]
    assert load_experiment(BASE, ["model.variant=FA"]).model.options["eta_PI"] == [0.0]
    assert load_experiment(BASE, ["model.variant=FA", "model.eta_PI=7"]).model.options["eta_PI"] == [7.0]
    assert load_experiment(BASE, {"model.variant": "FA"}).model.options["sigma"] == [0.0]


def test_a_variant_changes_keys_of_other_tables():
    base = {"model": {**BASE["model"], "variants": {"FA": {"run.backend": "native", "record.a.every": 3}}}}
    assert load_experiment(base, ["model.variant=PAL"]).record == {}
    chosen = load_experiment(base, ["model.variant=FA", "run.backend=lava"])
    assert (chosen.record["a"].every, chosen.run.backend) == (3, "lava")
    with pytest.raises(CortexError, match="X103"):
        load_experiment({"model": {**BASE["model"], "variants": {"FA": {"run.back": "native"}}}}, ["model.variant=FA"])


@pytest.mark.parametrize("text, value", [("FA", "FA"), ("3", 3), ("[1, 2]", [1, 2]), ("true", True), ("1e-3", 1e-3),
                                         ("'a b'", "a b"), ("{a = 1}", {"a": 1}), ("a b", "a b"), ("", "")])
def test_override_values_are_toml_or_bare_words(text, value):
    assert parse_value(text) == value


def test_paths_start_at_the_file(tmp_path):
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "mine.toml").write_text("[model]\ncircuit = 'c.ir'\narrays = 'w.npz'\n[data]\npath = 'x.npz'\n"
                                      "folder = 'sets'\n[data.inputs]\n'input.value' = 'y.npz:key'\n")
    experiment = load_experiment(folder / "mine.toml")
    assert experiment.model.circuit == str(folder / "c.ir") and experiment.model.arrays == str(folder / "w.npz")
    assert experiment.data.inputs == {"input.value": str(folder / "y.npz:key")}
    assert experiment.data.folder == str(folder / "sets")


@pytest.mark.parametrize("override, code, words", [
    ("model.layer=3", "X103", "Did you mean 'layers'?"),
    ("protocol.epoch=1", "X103", "Did you mean 'epochs'?"),
    ("protocol.halve_at=[1]", "X103", "It is a key of classify."),
    ("protocol.task=classfy", "X104", "Known: classify, "),
    ("protcol.epochs=1", "X103", "Did you mean 'protocol'?"),
    ("record.x.evry=1", "X103", "Did you mean 'every'?"),
    ("protocol.epochs=-1", "X104", "protocol.epochs"),
    ("protocol.presentation_steps=0", "X104", "protocol.presentation_steps"),
    ("run.seeds=a", "X104", "run.seeds"),
    ("run.seeds=[]", "X104", "run.seeds"),
    (f"run.seeds=[3, {2**64}]", "X104", "run: seeds must be below 2**64"),
    ("run.backend=lav", "X104", "lava, native, interpreter"),
    ("run.block_ms=1000", "X104", "run.block_ms"),
    ("model.eta_fw=['a']", "X104", "model.eta_fw[0]"),
    ("model.eta_fw=nan", "X104", "finite"),
    ("data.target=[1]", "X104", "data.target"),
    ("data=3", "X105", "a table"),
    ("name.x=3", "X105", "not a table"),
    ("model.circuit=pall", "X106", "Did you mean 'pal'?"),
])
def test_mistakes_are_coded_and_name_the_place(override, code, words):
    with pytest.raises(CortexError) as caught:
        load_experiment({"name": "mine", **BASE}, [override])
    assert caught.value.code == code and words in str(caught.value)


@pytest.mark.parametrize("tables, code", [({"model": {"circuit": "pal"}}, "X107"), ({"model": 3}, "X104"),
                                          ({"record": 3, **BASE}, "X104"), ({"record": {"a": 3}, **BASE}, "X104")])
def test_incomplete_tables_are_coded(tables, code):
    with pytest.raises(CortexError) as caught:
        load_experiment(tables)
    assert caught.value.code == code


def test_files_that_cannot_be_read_are_coded(tmp_path):
    (tmp_path / "bad.toml").write_text("[model\n")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for source, code in ((tmp_path / "bad.toml", "X102"), (tmp_path / "binary.toml", "X102"), ("pal_digit", "X101"),
                         (tmp_path, "X101"), ("x" * 300, "X101")):
        with pytest.raises(CortexError) as caught:
            load_experiment(source)
        assert caught.value.code == code
    assert "Did you mean 'pal_digits'?" in str(_error("pal_digit"))


def _error(source):
    with pytest.raises(CortexError) as caught:
        load_experiment(source)
    return caught.value


def test_the_digest_ignores_how_and_how_far_it_runs():
    digest = load_experiment(BASE).sha256()
    assert load_experiment(BASE, ["run.backend=native", "run.until_epoch=3", "run.block_ms=10"]).sha256() == digest
    assert load_experiment(BASE, ["run.seeds=[1]"]).sha256() != digest
    assert load_experiment(BASE, ["protocol.epochs=7"]).sha256() != digest


PAL = "[model]\ncircuit = 'pal'\nlayers = [4, 30, 3]\n"


@pytest.mark.parametrize("file, text", [
    ("own.py", "[model]\ncircuit = 'own.py:build'"), ("own.ir", "[model]\ncircuit = 'own.ir'"),
    ("own.npz", f"{PAL}arrays = 'own.npz'"), ("own.csv", f"{PAL}[data]\nfolder = '.'\nname = 'own.csv'"),
    ("own.npz", f"{PAL}[data]\npath = 'own.npz'"), ("own.npz", f"{PAL}[data]\ninputs = {{drive = 'own.npz:row'}}"),
    ("own.toml", f"{PAL}[precision]\nmap = 'own.toml'")])
def test_in_the_digest_a_file_is_what_it_holds_wherever_it_lies(file, text, tmp_path):
    def digest(folder, held):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / "experiment.toml").write_text(text)
        (place / file).write_text(held)
        return load_experiment(place / "experiment.toml").sha256()

    assert digest("one", "a") == digest("two", "a") != digest("one", "b")


def test_paths_in_overrides_start_at_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = ["model.arrays=w.npz", "data.folder=sets", "data.name=x.csv", "data.inputs.stimulus=y.npz:key"]
    experiment = load_experiment("pal_digits", overrides)
    assert experiment.model.arrays == str(tmp_path / "w.npz") and experiment.data.folder == str(tmp_path / "sets")
    assert experiment.data.name == str(tmp_path / "x.csv")
    assert experiment.data.inputs["stimulus"] == str(tmp_path / "y.npz:key")
    assert load_experiment("pal_digits", ["data.name=digits"]).data.name == "digits"
