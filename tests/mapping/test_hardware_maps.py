"""The shipped maps are complete and sourced, and decoding is strict: every mistake names file, field and what is
expected."""

from pathlib import Path

import pytest

from cortexc.hardware_maps import FIELDS, LIMITS, PROFILE, HardwareMap, MapError, load_map, shipped_maps
from cortexc.hardware_maps.schema import FORMATS

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


def without(name: str, field: str) -> str:
    """The text of a shipped map with the line of one field left out."""
    group, _, key = field.rpartition(".")
    section, kept = "", []
    for line in shipped_maps()[name].read_text().splitlines():
        section = line.strip("[]") if line.startswith("[") else section
        kept += [] if section == group and line.startswith(f"{key} = ") else [line]
    return "\n".join(kept)


def test_every_field_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    for field, (unit, meaning) in FIELDS.items():
        path.write_text(without("ideal", field))
        error = error_of(path)
        assert error.code == "H104" and f"lacks 1 field, among them '{field}' in {unit}: {meaning}" in str(error)


@pytest.mark.parametrize("profile", ["davies2018", "sanafe_nahuku"])
def test_every_figure_of_a_profile_is_needed(tmp_path: Path, profile: str) -> None:
    path = tmp_path / "mine.toml"
    for figure, (unit, meaning) in PROFILE.items():
        path.write_text(without("loihi1", f"cost_profiles.{profile}.{figure}"))
        error = error_of(path)
        assert error.code == "H104" and f"'{profile}' lacks 1 field, among them '{figure}' in {unit}" in str(error)
        assert meaning in str(error) and 'kind = "unpublished"' in str(error)


def test_one_figure_of_a_profile_is_replaced_alone(tmp_path: Path) -> None:
    found = load_map(write(tmp_path, "[cost_profiles.davies2018]\nlearning_energy = "
                           '{ value = 100e-12, unit = "J", kind = "assumed", source = "[MINE]" }'))
    base = load_map("loihi1")
    changed = {name for name, scalar in found.scalars.items() if scalar != base.scalars[name]}
    assert changed == {"cost_profiles.davies2018.learning_energy"} and set(found.scalars) == set(base.scalars)
    assert found.value("cost_profiles.davies2018.learning_energy") == 100e-12


def test_a_new_profile_must_be_complete(tmp_path: Path) -> None:
    figure = '{ value = 1e-12, unit = "J", kind = "assumed", source = "[MINE]" }'
    error = error_of(write(tmp_path, f"[cost_profiles.mine]\nlearning_energy = {figure}"))
    assert error.code == "H104" and f"'mine' lacks {len(PROFILE) - 1} fields, among them 'boundary'" in str(error)
    assert error_of(write(tmp_path, "[cost_profiles.mine]")).code == "H104"


DOMAINS = [
    *[(field, value, "at least 1") for field in
      ("core.compartments", "core.synapse_bits", "core.axons_in", "core.axons_out", "core.word_bits",
       "core.state_word_bits", "core.synapses_per_block", "core.slots_per_learning_axon", "numeric.weight_bits",
       "numeric.state_bits", "numeric.delay_steps", "numeric.message_bits", "learning.epoch_max", "chip.cores",
       "chip.usable_cores", "chip.cores_per_tile", "chip.mesh_columns", "system.chips", "system.columns")
      for value in ("0", "-5", "2.5", "-inf")],
    *[(field, value, "at least 0") for field in ("core.header_bits", "core.index_bits", "numeric.tag_bits",
                                                 "numeric.delay_bits", "learning.synaptic_states")
      for value in ("-1", "0.5")],
    *[(field, "inf", "a finite whole number") for field in FORMATS],
    *[(field, "", "has no value") for field in (*FORMATS, "core.synapses_per_block", "core.slot_per_compartment",
                                                "cost_profiles.davies2018.boundary",
                                                "cost_profiles.davies2018.conditions")],
    ("system.link_slowdown", "0", "more than 0"), ("system.link_slowdown", "-30", "more than 0"),
    ("chip.minimum_step", "-1e-9", "at least 0"), ("chip.minimum_step", "inf", "a finite number"),
    ("cost_profiles.davies2018.learning_energy", "-1e-12", "at least 0"),
    ("cost_profiles.davies2018.learning_energy", "inf", "a finite number"),
    ("learning.scale_exponent_low", "0.5", "a whole number")]


@pytest.mark.parametrize("field, value, words", DOMAINS)
def test_values_outside_their_domain(tmp_path: Path, field: str, value: str, words: str) -> None:
    group, _, key = field.rpartition(".")
    unit = (PROFILE[key] if group.startswith("cost_profiles") else FIELDS[field])[0]
    given = f'value = {value}, kind = "assumed"' if value else 'kind = "unpublished"'
    error = error_of(write(tmp_path, f'[{group}]\n{key} = {{ {given}, unit = "{unit}", source = "[MINE]" }}'))
    assert error.code == "H108"
    assert all(word in str(error) for word in ("mine.toml", f"'{field}'", words)), str(error)
    assert not value or f"= {float(value) if '.' in value or 'e' in value or 'inf' in value else value}," in str(error)


@pytest.mark.parametrize("value, sure", [("62", "62"), ("62", "-1"), ("62", "63"), ("62", "2.5")])
def test_what_is_sure_is_less_than_the_value(tmp_path: Path, value: str, sure: str) -> None:
    record = f'{{ value = {value}, sure = {sure}, unit = "steps", kind = "assumed", source = "[MINE]" }}'
    error = error_of(write(tmp_path, f"[numeric]\ndelay_steps = {record}"))
    assert error.code == "H108" and "numeric.delay_steps" in str(error) and sure in str(error)


def test_a_base_is_found_beside_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = write(tmp_path, f"[core]\ncompartments = {RECORD}").rename(tmp_path / "base.toml")
    above = write(tmp_path, "", extends='extends = "base.toml"')
    monkeypatch.chdir("/")
    assert load_map(above).value("core.compartments") == 7
    base.write_text(base.read_text().replace("value = 7", "value = 0"))
    assert all(word in str(error_of(above)) for word in ("H108", "mine.toml extends 'base.toml'", f"{base}: "))
    base.unlink()
    assert all(word in str(error_of(above)) for word in ("H102", "mine.toml extends 'base.toml'", str(base)))
    assert "mine.toml extends 'loihi3'" in str(error_of(write(tmp_path, "", extends='extends = "loihi3"')))
    assert error_of(write(tmp_path, "", extends="extends = 3")).code == "H106"


def test_a_name_that_is_no_text_is_not_called_missing(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    for text, code, word in (("name = 1", "H106", "'name' = 1"), ("", "H104", "'name' is missing"),
                             ('name = "m"\ntitle = ["t"]', "H106", "'title' = ['t']")):
        path.write_text(text)
        assert error_of(path).code == code and word in str(error_of(path))


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
    ("[cost_profiles]\ndavies2018 = 3", "H106", ("cost_profiles.davies2018", "must be a table")),
    ("[core]\ncompartments = " + RECORD.replace("7", str(10**400)), "H106", ("a number",)),
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


def test_cost_profiles_are_a_table(tmp_path: Path) -> None:
    error = error_of(write(tmp_path, "", extends='extends = "loihi1"\ncost_profiles = 3'))
    assert error.code == "H106" and "'cost_profiles' must be a table" in str(error)


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
