"""Words of other processors, for settings that there are."""

import pytest

import processor
from processor.errors import SettingsError
from processor.refusals import words
from processor.settings import Settings


def test_every_word_stands_for_a_setting_and_is_none_itself():
    assert set(words._WORDS.values()) <= Settings.model_fields.keys()
    assert not words._WORDS.keys() & {name.replace("_", "") for name in Settings.model_fields}


@pytest.mark.parametrize(
    ("word", "setting"),
    [("checkpointLocation", "data_dir"), ("checkpoint_location", "data_dir"),
     ("trigger", "interval"), ("master", "workers"), ("availableNow", "until_caught_up")],
)  # fmt: skip
def test_a_word_of_another_processor_is_answered_with_ours(word, setting):
    with pytest.raises(SettingsError, match=f"{word}: .*did you mean {setting}"):
        processor.start(processor.Topology("app"), **{word: "x"})
