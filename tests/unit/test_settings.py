from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from processor.errors import SettingsError
from processor.masking import masked
from processor.settings import Settings, load


@pytest.fixture(autouse=True)
def empty_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(text, name="processor.toml"):
    Path(name).write_text(text)
    return Path(name)


def test_defaults_need_nothing():
    settings = load()
    assert settings.workers == 1
    assert settings.interval == timedelta(milliseconds=100)
    assert settings.guarantee == "exactly-once"
    assert settings.batch_bytes_max == 64 * 1024 * 1024


def test_command_line_over_environment_over_file(monkeypatch):
    write('workers = 2\ninterval = "1 s"\nmetrics-host = "0.0.0.0"\nfrom = "latest"')
    monkeypatch.setenv("PROCESSOR_WORKERS", "3")
    monkeypatch.setenv("PROCESSOR_INTERVAL", "2 s")
    settings = load(workers=4, interval=None)
    assert settings.workers == 4
    assert settings.interval == timedelta(seconds=2)
    assert settings.metrics_host == "0.0.0.0"  # noqa: S104 - as the file says
    assert settings.from_ == "latest"


def test_tables_are_merged_name_by_name(monkeypatch):
    write(
        '[set]\nwindow = "1 m"\nrows = 3\n'
        '[kafka]\nsecurity.protocol = "ssl"\nsocket.keepalive.enable = true\n'
    )
    monkeypatch.setenv("PROCESSOR_SET__window", "2 m")
    monkeypatch.setenv("PROCESSOR_SET__REGION", "eu")
    monkeypatch.setenv("PROCESSOR_KAFKA__SECURITY_PROTOCOL", "sasl_ssl")
    monkeypatch.setenv("PROCESSOR_KAFKA", '{"client.id": "me"}')
    settings = load(set={"window": "3 m"})
    assert settings.set == {"window": "3 m", "rows": "3", "region": "eu"}
    assert settings.kafka == {
        "security.protocol": "sasl_ssl",
        "socket.keepalive.enable": "true",
        "client.id": "me",
    }


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("1 minute", timedelta(minutes=1)),
        (2, timedelta(seconds=2)),
        ("0.5", timedelta(milliseconds=500)),
        (0, timedelta(0)),
    ],
)
def test_durations(given, meant):
    assert load(interval=given).interval == meant


@pytest.mark.parametrize(
    ("given", "meant"),
    [("true", True), ("no", False), ("1", 1), (True, True), (False, False), (4, 4)],
)
def test_create_topics_is_a_flag_or_a_number(given, meant):
    created = load(create_topics=given).create_topics
    assert created == meant
    assert type(created) is type(meant)


def test_the_file_is_named_by_option_or_variable(monkeypatch):
    write("workers = 7", "other.toml")
    assert load(Path("other.toml")).workers == 7
    monkeypatch.setenv("PROCESSOR_CONFIG", "other.toml")
    assert load().workers == 7
    monkeypatch.setenv("PROCESSOR_CONFIG", "absent.toml")
    with pytest.raises(SettingsError, match=r"absent.toml does not exist"):
        load()


def test_an_unknown_name_in_the_file_is_refused_with_the_nearest():
    write("wokers = 2\nredis-ulr = 'x'")
    with pytest.raises(SettingsError) as raised:
        load()
    assert raised.value.message.splitlines() == [
        "processor.toml: there is no setting wokers; did you mean workers?",
        "processor.toml: there is no setting redis-ulr; did you mean redis_url?",
    ]


def test_broken_toml_is_told_with_its_place():
    write("workers = oops")
    with pytest.raises(SettingsError, match=r"processor.toml is no TOML.*line 1"):
        load()


def test_every_fault_has_its_line_and_origin(monkeypatch):
    write("batch_records_max = 0")
    monkeypatch.setenv("PROCESSOR_GUARANTEE", "maybe")
    with pytest.raises(SettingsError) as raised:
        load(interval="5 parsecs", metrics_port=70_000, from_="middle")
    lines = raised.value.message.splitlines()
    assert len(lines) == 5
    assert any(line.startswith("processor.toml: batch_records_max = 0: ") for line in lines)
    assert any(
        line.startswith("PROCESSOR_GUARANTEE = 'maybe': ") and "exactly-once" in line
        for line in lines
    )
    assert any(line.startswith("--interval = '5 parsecs': ") and "units" in line for line in lines)
    assert any(line.startswith("--metrics-port = 70000: ") for line in lines)
    assert any(line.startswith("--from = 'middle': ") and "earliest" in line for line in lines)


def test_an_option_that_does_not_exist_is_refused():
    with pytest.raises(SettingsError, match="--worker: there is no such setting; did you mean"):
        load(worker=2)


def test_other_variables_with_the_prefix_are_let_be(monkeypatch):
    monkeypatch.setenv("PROCESSOR_ARCHITECTURE", "AMD64")
    monkeypatch.setenv("PROCESSOR_WORKERS", "")
    assert load().workers == 1


def test_a_table_that_is_no_table_is_refused(monkeypatch):
    monkeypatch.setenv("PROCESSOR_SET", "window")
    with pytest.raises(SettingsError, match="PROCESSOR_SET is no JSON object"):
        load()


def test_passwords_are_in_no_text(monkeypatch):
    settings = load(redis_url="redis://me:hidden@h/0", kafka={"sasl.password": "hidden"})
    assert "hidden" not in repr(settings)
    assert settings.redis_url
    assert settings.redis_url.get_secret_value() == "redis://me:hidden@h/0"
    with pytest.raises(SettingsError) as raised:
        load(redis_url=["hidden"], kafka="sasl.password=hidden")
    assert "hidden" not in str(raised.value)


def test_made_in_code_they_do_not_look_around(monkeypatch):
    monkeypatch.setenv("PROCESSOR_WORKERS", "3")
    assert Settings().workers == 1


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("PROCESSOR_WORKRES", ("PROCESSOR_WORKRES: there is no such setting; did you mean "
         "PROCESSOR_WORKERS?")),
        ("PROCESSOR_REDIS", "PROCESSOR_REDIS: there is no such setting"),
        ("PROCESSOR_ISOLATION_LEVEL", "PROCESSOR_ISOLATION_LEVEL: there is no such setting"),
        ("PROCESSOR_WORKERS__x", ("PROCESSOR_WORKERS__x: there is no such setting; did you mean "
         "PROCESSOR_WORKERS?")),
    ],
)  # fmt: skip
def test_an_unknown_variable_is_refused_with_the_nearest(monkeypatch, variable, told):
    monkeypatch.setenv(variable, "2")
    with pytest.raises(SettingsError) as raised:
        load()
    assert raised.value.message.startswith(told)


@pytest.mark.parametrize("name", ["kafka", "set"])
def test_a_text_in_the_place_of_a_table_is_refused(name):
    write(f'{name} = "sasl.password=hidden"')
    with pytest.raises(SettingsError) as raised:
        load(**{name: {"a": "b"}})
    assert raised.value.message == (
        f"processor.toml: {name} is a table: write [{name}], and name = value below it"
    )


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("option", "--kafka isolation.level=read_uncommitted is not possible: records of aborted"),
        ("variable", "PROCESSOR_KAFKA__isolation.level=read_uncommitted is not possible: "),
        ("file", "processor.toml: kafka.isolation.level=read_uncommitted is not possible: "),
    ],
)
def test_a_setting_of_the_client_that_breaks_a_promise_is_refused_where_it_stands(
    monkeypatch, place, told
):
    given = {}
    if place == "option":
        given = {"kafka": {"isolation.level": "read_uncommitted"}}
    elif place == "variable":
        monkeypatch.setenv("PROCESSOR_KAFKA__ISOLATION_LEVEL", "read_uncommitted")
    else:
        write('[kafka]\nisolation.level = "read_uncommitted"')
    with pytest.raises(SettingsError) as raised:
        load(**given)
    assert raised.value.message.startswith(told)
    assert raised.value.remedy


@pytest.mark.parametrize(
    "given",
    [
        {"redis_url": "redis//:hunter2@host"},
        {"redis_url": "redis://user:hun/ter2@host"},
        {"redis_url": "redis://host/hunter2"},
        {"bootstrap_servers": "redis://:hunter2@host:6379"},
        {"bootstrap_servers": "me:hunter2@host:6379"},
        {"kafka": {"sasl.password": "hunter2", "acks": "1"}},
        {"kafka": {"sasl.pasword": "hunter2"}, "instance": "hunter2 "},
        {"set": {"password": "hunter2"}, "interval": "hunter2"},
        {"redis_url": "redis://:hunter2@host", "instance": "redis://:hunter2@host"},
    ],
    ids=str,
)
def test_no_refusal_shows_a_secret(given):
    with pytest.raises(SettingsError) as raised:
        load(**given)
    for part in ("hunter2", "ter2"):
        assert part not in f"{raised.value} {raised.value.args}"


@pytest.mark.parametrize(
    "line",
    [
        "'2026-08-01T12:00:00'", "'2026-08-01 14:00+02:00'", "2026-08-01T12:00:00",
        "2026-08-01T12:00:00Z", "2026-08-01T14:00:00+02:00",
    ],
)  # fmt: skip
def test_a_group_may_begin_at_a_time_as_text_or_as_toml_has_times(line):
    write(f"from = {line}")
    assert load().from_ == datetime(2026, 8, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("line", ["'2026-08-01'", "2026-08-01"])
def test_a_day_is_its_midnight_in_utc(line):
    write(f"from = {line}")
    assert load().from_ == datetime(2026, 8, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", ["1200", "20260801", "", "now", "12:00", "2026-08-01T24:30"])
def test_a_beginning_that_is_no_time_is_told_with_one_that_is(value):
    with pytest.raises(SettingsError, match=r"--from = .*2026-08-01T12:00:00"):
        load(from_=value)


@pytest.mark.parametrize(
    "line", ["workers = true", "batch_records_max = false", "batch_bytes_max = true",
             "metrics-port = true"],
)  # fmt: skip
def test_a_truth_value_is_no_number(line):
    write(line)
    name = line.partition(" =")[0].replace("-", "_")
    with pytest.raises(
        SettingsError, match=rf"processor.toml: {name} = (True|False): a number"
    ) as raised:
        load()
    assert raised.value.remedy.startswith(f"correct processor.toml: {name};")


@pytest.mark.parametrize(
    ("given", "words", "remedy"),
    [
        ({"guarantee": "exactly_once"}, "did you mean exactly-once?", "correct --guarantee;"),
        (
            {"kafka": {"auto.offset.reset": "latest"}},
            "--from",
            "correct --kafka auto.offset.reset;",
        ),
        ({"workers": 0, "interval": "x"}, "--workers = 0", "correct --interval, --workers;"),
        ({"redis_url": "redis://host/abc"}, "--redis-url", "correct --redis-url;"),
    ],
)
def test_the_remedy_names_the_settings(given, words, remedy):
    with pytest.raises(SettingsError) as raised:
        load(**given)
    assert words in raised.value.message
    assert raised.value.remedy.startswith(remedy)


def test_the_registrys_client_takes_its_properties_from_three_places(monkeypatch, tmp_path):
    file = tmp_path / "processor.toml"
    file.write_text('[schema_registry]\ntimeout = 3\n"ssl.ca.location" = "ca.pem"\n')
    monkeypatch.setenv("PROCESSOR_SCHEMA_REGISTRY__BASIC_AUTH_USER_INFO", "me:hunter22")
    monkeypatch.setenv("PROCESSOR_SCHEMA_REGISTRY_URL", "https://a:1")
    found = load(file, schema_registry={"timeout": "4"})
    assert found.schema_registry == {
        "timeout": "4", "ssl.ca.location": "ca.pem", "basic.auth.user.info": "me:hunter22",
    }  # fmt: skip
    assert found.schema_registry_url.get_secret_value() == "https://a:1"
    assert "hunter22" not in repr(found)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"schema_registry_url": "registry:8081"}, "--schema-registry-url: it begins with no http"),
        ({"schema_registry_url": "http://:1"}, "--schema-registry-url: it names no host"),
        ({"schema_registry_url": "http://a:x"}, "--schema-registry-url: its port is no number"),
        ({"schema_registry": {"url": "http://a"}}, "is for --schema-registry-url to say"),
        ({"schema_registry": {"tiemout": "5"}}, "did you mean timeout?"),
        ({"schema_registry": {"timeout": "soon"}}, "timeout=soon is not possible: a number"),
        ({"schema_registry": {"timeout": "-1"}}, "it is no number from 0 on"),
        ({"schema_registry": {"basic.auth.user.info": "hunter22"}}, "=*** is not possible"),
    ],
)
def test_an_address_or_a_property_of_a_registry_that_cannot_be_meant_is_refused(given, told):
    with pytest.raises(SettingsError) as error:
        load(**given)
    assert told in str(error.value)
    assert "hunter22" not in str(error.value)


def test_no_message_shows_the_password_of_a_registrys_address():
    load(schema_registry_url="https://me:hunter22@registry:8081")
    assert "hunter22" not in masked("no answer from hunter22")


def test_an_address_where_a_registrys_properties_are_due_is_told_where_to_stand(monkeypatch):
    monkeypatch.setenv("PROCESSOR_SCHEMA_REGISTRY", "http://registry:8081")
    with pytest.raises(SettingsError, match="PROCESSOR_SCHEMA_REGISTRY is no JSON") as refused:
        load()
    assert "PROCESSOR_SCHEMA_REGISTRY_URL to say" in refused.value.remedy


def test_a_data_directory_is_a_path_in_which_the_users_home_is_known(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("PROCESSOR_DATA_DIR", "~/data")
    assert load().data_dir == Path("/home/ann/data")
    monkeypatch.delenv("PROCESSOR_DATA_DIR")
    write('data-dir = "data"')
    assert load().data_dir == Path("data")
    for wrong in ("", " ", 5):
        with pytest.raises(SettingsError, match="--data-dir"):
            load(data_dir=wrong)
