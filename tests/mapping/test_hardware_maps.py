"""The shipped maps are complete and sourced, and decoding is strict: every mistake names file, field and what is
expected."""

from pathlib import Path

import pytest

from hardware_maps import FIELDS, LIMITS, HardwareMap, MapError, load_map, shipped_maps

NAMES = ("ideal", "loihi1", "loihi2", "kapoho_point", "hala_point")
RECORD = '{ value = 7, unit = "compartments", kind = "assumed", source = "a guess [MINE]" }'


def write(folder: Path, body: str, extends: str = 'extends = "loihi1"', sources: str = 'MINE = "me"') -> Path:
    path = folder / "mine.toml"
    path.write_text(f'name = "mine"\ntitle = "my chip"\n{extends}\n[sources]\n{sources}\n{body}\n')
    return path


def error_of(path: Path) -> MapError:
    with pytest.raises(MapError) as caught:
        load_map(path)
    return caught.value


def test_the_shipped_maps() -> None:
    assert tuple(shipped_maps()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_there_with_unit_and_source(name: str) -> None:
    found = load_map(name)
    assert found.name == name and found.title
    for key, (unit, _) in FIELDS.items():
        scalar = found.scalar(key)
        assert scalar.unit == unit and found.resolved(scalar)
        assert (scalar.value is None) == (scalar.kind == "unpublished")


def test_ideal_limits_nothing() -> None:
    found = load_map("ideal")
    assert all(found.scalar(name).unlimited for name in LIMITS) and not found.unpublished


@pytest.mark.parametrize("name, key, value", [
    ("loihi1", "core.compartments", 1024), ("loihi1", "core.synapse_bits", 128 * 1024 * 8),
    ("loihi1", "core.axons_in", 4096), ("loihi2", "core.memory_bits", 192 * 1024 * 8),
    ("loihi2", "core.compartments", 8192), ("loihi2", "core.synapse_bits", None),
    ("kapoho_point", "system.chips", 8), ("hala_point", "system.chips", 1152),
    ("hala_point", "chip.usable_cores", 122), ("hala_point", "core.compartments", 8192),
    ("loihi1", "cost_profiles.davies2018.synapse_energy", 23.6e-12)])
def test_known_numbers(name: str, key: str, value: object) -> None:
    assert load_map(name).value(key) == value


def test_hala_point_is_consistent() -> None:
    found = load_map("hala_point")
    assert found.number("system.chips") * found.number("chip.usable_cores") == 140_544
    assert found.number("system.columns") * found.number("system.rows") == found.number("system.chips")


def test_one_sided_bounds_stay_one_sided() -> None:
    found = load_map("loihi1")
    assert found.scalar("cost_profiles.davies2018.synapse_energy").bound == "min"
    assert found.scalar("cost_profiles.davies2018.synapse_time").bound == "max"
    assert found.profiles == ("davies2018", "sanafe_nahuku")


def test_a_map_of_ones_own(tmp_path: Path) -> None:
    found = load_map(write(tmp_path, f"[core]\ncompartments = {RECORD}"))
    assert isinstance(found, HardwareMap)
    assert found.value("core.compartments") == 7 and found.value("core.axons_in") == 4096
    assert found.resolved(found.scalar("core.compartments")) == "me"
    assert "core.compartments" in found.assumed


@pytest.mark.parametrize("body, code, words", [
    ("[core]\ncompartmnets = " + RECORD, "H103", ("compartmnets", "Did you mean 'compartments'", "mine.toml")),
    ("[cores]\ncompartments = " + RECORD, "H103", ("cores", "'core'")),
    ("[core]\ncompartments = " + RECORD.replace("source", "sauce"), "H103", ("sauce", "core.compartments", "'source'")),
    ("[core]\ncompartments = " + RECORD.replace(', source = "a guess [MINE]"', ""), "H104", ("no source", "compart")),
    ("[core]\ncompartments = " + RECORD.replace('"compartments", kind', '"bits", kind'), "H105",
     ("unit 'bits'", "expected 'compartments'")),
    ("[core]\ncompartments = 7", "H106", ("must be a table",)),
    ("[core]\ncompartments = " + RECORD.replace("7", "'7'"), "H106", ("'7'", "a number")),
    ("[core]\ncompartments = " + RECORD.replace("7", "nan"), "H106", ("nan", "a number")),
    ("[core]\ncompartments = " + RECORD.replace("assumed", "guessed"), "H106", ("guessed",)),
    ("[core]\ncompartments = " + RECORD.replace("assumed", "published"), "H104", ("no basis", "measured")),
    ("[core]\ncompartments = " + RECORD.replace("assumed", "unpublished"), "H106", ("unpublished", "a value")),
    ("[core]\ncompartments = " + RECORD.replace("value = 7, ", ""), "H106", ("no value", "unpublished")),
    ("[core]\ncompartments = " + RECORD.replace(" [MINE]", ""), "H107", ("a guess", "bracket")),
    ("[core]\ncompartments = " + RECORD.replace("[MINE]", "[MINF]"), "H107", ("MINF", "Did you mean 'MINE'")),
    ("[cost_profiles.mine]\nsynapse_enrgy = " + RECORD, "H103", ("synapse_energy",)),
    ("[learning]\ntrace_signed = " + RECORD.replace("compartments", "flag"), "H106", ("0 or 1",)),
])
def test_decoding_is_strict(tmp_path: Path, body: str, code: str, words: tuple[str, ...]) -> None:
    error = error_of(write(tmp_path, body))
    assert error.code == code
    assert all(word in str(error) for word in (*words,)), str(error)


def test_a_map_without_a_base_must_be_complete(tmp_path: Path) -> None:
    error = error_of(write(tmp_path, f"[core]\ncompartments = {RECORD}", extends=""))
    assert error.code == "H104" and "core.synapse_bits" in str(error) and "bits" in str(error)


def test_a_map_cannot_extend_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    error = error_of(write(tmp_path, "", extends=f'extends = "{path}"'))
    assert error.code == "H103" and "leads back" in error.message


def test_unknown_and_unreadable_maps(tmp_path: Path) -> None:
    assert error_of(Path("loihi3")).code == "H101"  # Path has no suffix: a name
    assert "Did you mean 'loihi" in str(error_of(Path("loihi3")))
    assert error_of(tmp_path / "none.toml").code == "H102"
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    assert error_of(broken).code == "H102"


def test_unknown_fields_are_named() -> None:
    with pytest.raises(MapError, match="H103.*core.compartments"):
        load_map("loihi1").value("core.compartment")
