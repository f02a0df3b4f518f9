"""Sound: WAV files of every kind and damaged ones, other rates, folders of classes, the log-mel spectrogram."""

from __future__ import annotations

import struct
import wave

import numpy as np
import pytest

from spikecore.datasets import Cached, DataError, DataFileError, Loader, Sound, read_wav, transforms, wav_folder
from spikecore.datasets.transforms import LogMel
from spikecore.datasets.transforms.sound import mel_bands, power_spectrum

RNG = np.random.default_rng(0)
#: Kind of samples, bits, how a sample of [-1, 1) is written.
KINDS = {
    "8": (1, 8, lambda x: (np.round(x * 127) + 128).astype("u1").tobytes()),
    "16": (1, 16, lambda x: np.round(x * 32767).astype("<i2").tobytes()),
    "24": (1, 24, lambda x: b"".join(int(round(v * 8388607)).to_bytes(3, "little", signed=True) for v in x)),
    "32": (1, 32, lambda x: np.round(x * 2147483647).astype("<i4").tobytes()),
    "float32": (3, 32, lambda x: x.astype("<f4").tobytes()),
    "float64": (3, 64, lambda x: x.astype("<f8").tobytes()),
}


def chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def wav(data, kind=1, bits=16, channels=1, rate=8000, extensible=False, before=b"", frame=None):
    """A WAV file's bytes."""
    frame = channels * bits // 8 if frame is None else frame
    head = struct.pack("<HHIIHH", 0xFFFE if extensible else kind, channels, rate, rate * frame, frame, bits)
    if extensible:  # its size, valid bits, places of loudspeakers, and a GUID that begins with the kind
        head += struct.pack("<HHIH", 22, bits, 0, kind) + bytes.fromhex("000000001000800000AA00389B71")
    body = b"WAVE" + before + chunk(b"fmt ", head) + chunk(b"data", data)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tone(frequency, rate, seconds=0.2, size=1.0):
    return Sound(size * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate), rate)


# ---- WAV files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_samples(tmp_path, name, extensible):
    kind, bits, written = KINDS[name]
    x = RNG.uniform(-0.99, 0.99, 101)  # odd, so that bytes of 8 and 24 bits need filling up
    x[:3] = 0.0, -0.99, 0.99
    (tmp_path / "x.wav").write_bytes(wav(written(x), kind, bits, extensible=extensible, before=chunk(b"LIST", b"odd")))
    sound = read_wav(tmp_path / "x.wav")
    assert (sound.rate, sound.samples.dtype, len(sound)) == (8000, np.float32, 101)
    np.testing.assert_allclose(sound.samples, x, atol=1.6 * 2.0 ** (1 - bits) if kind == 1 else 1e-7, rtol=1e-6)


@pytest.mark.parametrize(("width", "dtype"), [(1, "u1"), (2, "<i2"), (4, "<i4")])
def test_files_of_the_standard_library(tmp_path, width, dtype):
    info = np.iinfo(dtype)
    values = RNG.integers(info.min, info.max, (50, 2), np.dtype(dtype).newbyteorder("="), endpoint=True)
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(44_100)
        file.writeframes(values.astype(dtype).tobytes())
    sound = read_wav(tmp_path / "x.wav")
    middle, half = (128, 128) if width == 1 else (0, 2.0 ** (8 * width - 1))
    assert sound.rate == 44_100
    np.testing.assert_allclose(sound.samples, (values.astype(float).mean(axis=1) - middle) / half, atol=1e-6)


def damaged():
    whole = wav(bytes(range(100)))
    return {
        "not a WAV": b"ID3 and so on, an MP3",
        "chunk 'fmt ': cut off": b"RIFF\x04\0\0\0WAVE",
        "chunk 'data': cut off": whole[:36],
        "cut off": whole[:-1],
        "need at least 16": b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", b"123") + chunk(b"data", b"12"),
        "µ-law": wav(b"12", kind=7, bits=8),
        "integers of 12 bits": wav(b"12", bits=12),
        "floats of 16 bits": wav(b"12", kind=3, bits=16),
        "0 channels": wav(b"12", channels=0, frame=2),
        "0 Hz": wav(b"12", rate=0),
        "3 bytes of samples": wav(b"123"),
        "0 bytes of samples": wav(b""),
        "sample 1 is nan": wav(np.array([0.0, np.nan], "<f4").tobytes(), kind=3, bits=32),
    }


@pytest.mark.parametrize("message", damaged())
def test_damaged_files_say_what_is_wrong(tmp_path, message):
    path = tmp_path / "x.wav"
    path.write_bytes(damaged()[message])
    with pytest.raises(DataFileError, match=message) as caught:
        read_wav(path)
    assert str(path) in str(caught.value)


def test_every_beginning_of_a_file_is_refused(tmp_path):
    whole = wav(RNG.bytes(20), extensible=True, before=chunk(b"LIST", b"abc"))
    for length in range(len(whole)):
        (tmp_path / "x.wav").write_bytes(whole[:length])
        with pytest.raises(DataFileError):
            read_wav(tmp_path / "x.wav")


def test_a_file_with_any_byte_changed_is_read_or_refused(tmp_path):
    whole = wav(RNG.bytes(20), channels=2, extensible=True, before=chunk(b"LIST", b"abc"))
    refused = 0
    for place in range(len(whole)):
        for value in (1, 255):
            (tmp_path / "x.wav").write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                assert len(read_wav(tmp_path / "x.wav"))
            except DataFileError:
                refused += 1
    assert refused > 30


def test_absent_and_large_files(tmp_path):
    with pytest.raises(DataFileError, match="cannot be read"):
        read_wav(tmp_path / "x.wav")
    (tmp_path / "x.wav").write_bytes(wav(bytes(1000)))
    with pytest.raises(DataFileError, match="max_bytes=2,000"):
        read_wav(tmp_path / "x.wav", max_bytes=2000)


# ---- sounds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rates", [(44_100, 16_000), (16_000, 8_000), (8_000, 16_000), (8_000, 11_025), (7, 8_000)])
def test_a_tone_stays_a_tone_at_another_rate(rates):
    old, new = rates
    before = tone(0.1 * min(rates), old, seconds=400 / min(rates), size=0.5)
    after = before.resampled(new)
    assert (after.rate, len(after)) == (new, -(-len(before) * new // old))
    expected = tone(0.1 * min(rates), new, len(after) / new, size=0.5)
    inner = slice(len(after) // 8, -len(after) // 8)
    np.testing.assert_allclose(after.samples[inner], expected.samples[inner], atol=2e-5)


def test_what_the_new_rate_cannot_hold_is_gone():
    after = tone(5000.0, 16_000).resampled(8_000)
    assert np.abs(after.samples[200:-200]).max() < 1e-4
    assert np.abs(Sound(np.ones(1000), 16_000).resampled(6_000).samples[30:-30] - 1.0).max() < 1e-6


@pytest.mark.parametrize("count", [1, 2, 5])
def test_short_sounds_are_resampled(count):
    assert len(Sound(np.ones(count), 44_100).resampled(16_000)) == -(-count * 160 // 441)
    assert len(Sound(np.ones(count), 8_000).resampled(44_100)) == -(-count * 441 // 80)


def test_lengths():
    sound = Sound([0.1, 0.2, 0.3, 0.4], 10)
    assert sound.duration == 0.4
    assert sound.resampled(10) is sound
    np.testing.assert_array_equal(sound.fitted(0.2).samples, np.float32([0.1, 0.2]))
    np.testing.assert_array_equal(sound.fitted(0.6).samples, np.float32([0.1, 0.2, 0.3, 0.4, 0.0, 0.0]))
    assert repr(sound) == "Sound(0.400 s at 10 Hz)"


@pytest.mark.parametrize(("part", "low", "high"), [(0.86, -0.1, 0.1), (0.94, -6.1, -5.9), (1.05, -200.0, -80.0)])
def test_the_low_pass_of_resampling_is_as_documented(part, low, high):
    """``part`` of half the lower rate; the ends of the result, where the sound begins and ends, are left out."""
    time = np.arange(8000) / 16_000
    after = Sound(np.sin(2 * np.pi * part * 4000 * time), 16_000).resampled(8000)
    level = 10 * np.log10(2 * np.mean(after.samples[1000:-1000].astype(float) ** 2))
    assert low < level < high


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sound([], 8000), "samples have shape"),
        (lambda: Sound([[1.0]], 8000), "samples have shape"),
        (lambda: Sound([0.0, np.inf], 8000), r"samples\[1\]"),
        (lambda: Sound([0.0], 0), "rate"),
        (lambda: Sound([0.0], 8000).resampled(0), "rate"),
        (lambda: Sound([0.0], 4_000_000_000).resampled(7999), "rate=7999"),  # as a damaged header may have it
        (lambda: Sound([0.0], 8000).fitted(0.0), "seconds=0.0"),
        (lambda: Sound([0.0], 8000).fitted(1e-5), "seconds=1e-05"),
    ],
)
def test_wrong_sounds_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


# ---- the log-mel spectrogram ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("frequency", [300.0, 1000.0, 3000.0])
def test_a_tone_is_in_the_band_of_its_frequency(frequency):
    energy = LogMel(mels=20, low=100.0, high=4000.0, top_db=None)(tone(frequency, 16_000, 0.5))
    assert energy.shape == (50, 20)
    assert energy.dtype == np.float32
    mel = lambda f: 2595 * np.log10(1 + f / 700)  # noqa: E731
    corners = np.linspace(mel(100.0), mel(4000.0), 22)[1:-1]
    assert (energy[5:-5].argmax(axis=1) == np.abs(corners - mel(frequency)).argmin()).all()


def test_bands_hold_the_power_of_the_spectrum():
    sound = Sound(RNG.standard_normal(800), 8000)
    power, bands = power_spectrum(sound.samples, 200, 80), mel_bands(20, 50.0, 3900.0, 200, 8000)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(200) + 0.5) / 200)
    piece = hann * sound.samples[3 * 80 - 60 : 3 * 80 + 140]  # its middle is that of the fourth step
    waves = np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(200)) / 512)
    np.testing.assert_allclose(power[3], np.abs(waves @ piece) ** 2 / (hann**2).sum(), rtol=1e-9)
    decibels = LogMel(20, low=50.0, high=3900.0, top_db=None)(sound)
    np.testing.assert_allclose(decibels, 10 * np.log10(power @ bands), rtol=1e-5)
    inner = bands[bands[:, 0].argmax() + 1 : bands[:, -1].argmax()]  # between the middles of the outer bands
    np.testing.assert_allclose(inner.sum(axis=1), 1.0, atol=1e-12)  # triangles lose no power


def test_time_steps_are_where_the_sound_is():
    samples = np.zeros(8000)
    samples[4000:4400] = RNG.standard_normal(400)  # from 0.5 to 0.55 s
    energy = LogMel(mels=10, hop=0.01)(Sound(samples, 8000)).mean(axis=1)
    assert energy.shape == (100,)
    assert energy[51:54].min() > 0.5
    assert energy[:48].max() == energy[57:].max() == 0.0


def test_the_scale_is_below_the_loudest():
    loud, soft = (tone(1000.0, 8000, size=size) for size in (1.0, 0.01))
    np.testing.assert_allclose(LogMel()(loud), LogMel()(soft), atol=1e-5)
    difference = LogMel(top_db=None)(loud)[5:-5] - LogMel(top_db=None)(soft)[5:-5]
    np.testing.assert_allclose(difference[:, 20:25], 40.0, atol=0.1)  # a hundredth of the size is 40 dB less
    both = LogMel(top_db=30.0)(loud)
    assert both.min() == 0.0
    assert both.max() == 1.0
    assert (LogMel()(Sound(np.zeros(800), 8000)) == 0.0).all()


@pytest.mark.parametrize("seconds", [0.001, 0.0101, 0.5])
@pytest.mark.parametrize(("window", "hop"), [(0.025, 0.01), (0.01, 0.025), (0.02, 0.02)])
def test_there_is_a_step_per_hop(seconds, window, hop):
    sound = tone(440.0, 16_000, seconds)
    assert len(LogMel(mels=8, window=window, hop=hop)(sound)) == -(-len(sound) // round(hop * 16_000))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogMel(mels=0), "mels=0"),
        (lambda: LogMel(window=0.0), "window=0.0"),
        (lambda: LogMel(hop=-1.0), "hop=-1.0"),
        (lambda: LogMel(low=-1.0), "low=-1.0"),
        (lambda: LogMel(low=500.0, high=400.0), "high=400.0"),
        (lambda: LogMel(top_db=0.0), "top_db=0.0"),
        (lambda: LogMel(high=5000.0)(tone(440.0, 8000)), "high=5000"),
        (lambda: LogMel(mels=200)(tone(440.0, 8000)), "use fewer bands"),
        (lambda: LogMel()(np.zeros(100)), "takes a Sound, not ndarray"),
    ],
)
def test_wrong_spectrograms_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


# ---- folders -------------------------------------------------------------------------------------------------------

SPEAKERS = ("026290a7", "0c40e715", "bb05582b", "a69b9b3e", "000000aa", "000000ab")


@pytest.fixture
def folder(tmp_path):
    """Words by speakers, some at another rate or length, with the lists of Speech Commands."""
    for word, frequency in (("yes", 300.0), ("no", 1500.0), ("_background_noise_", 0.0)):
        (tmp_path / word).mkdir()
        for i, speaker in enumerate(SPEAKERS):
            rate, seconds = (16_000, 0.1) if i else (8_000, 0.13)
            data = np.round(tone(frequency, rate, seconds).samples * 30_000).astype("<i2").tobytes()
            (tmp_path / word / f"{speaker}_nohash_0.wav").write_bytes(wav(data, rate=rate))
    (tmp_path / "validation_list.txt").write_text("yes/026290a7_nohash_0.wav\nno/a69b9b3e_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("no/bb05582b_nohash_0.wav\n\n")
    return tmp_path


def contents(part):
    return {part.source.files[row] for row in part.rows}


def test_lists_say_what_is_for_the_test(folder):
    train, validation, test = wav_folder(folder, seconds=0.1)
    assert train.classes == ("no", "yes")
    assert contents(validation) == {"yes/026290a7_nohash_0.wav", "no/a69b9b3e_nohash_0.wav"}
    assert contents(test) == {"no/bb05582b_nohash_0.wav"}
    assert len(train) == 9
    assert dict(zip(validation.source.files, validation.targets)) == {
        "yes/026290a7_nohash_0.wav": 1,
        "no/a69b9b3e_nohash_0.wav": 0,
    }
    sound, label = validation[0]
    assert (sound.rate, len(sound), label) == (16_000, 1600, 1)
    raw = wav_folder(folder, rate=None, seconds=None)[1][0][0]
    assert (raw.rate, len(raw)) == (8_000, 1040)
    only = wav_folder(folder, classes=("no",))[0]
    assert (len(only), only.classes) == (4, ("no",))


def test_hidden_files_are_no_recordings(folder):
    """macOS puts ``._NAME`` beside a file that it copies to a foreign disk."""
    (folder / "no" / "._bb05582b_nohash_0.wav").write_bytes(b"Mac OS X")
    assert len(wav_folder(folder, seconds=0.1)[0]) == 9


def test_speakers_are_where_the_published_rule_puts_them(folder):
    """Four of them are in the lists of Speech Commands 0.02, two for validation and two for tests."""
    parts = wav_folder(folder, split="speakers")
    names = [{file.partition("/")[2].partition("_")[0] for file in contents(part)} for part in parts]
    assert {"026290a7", "a69b9b3e"} <= names[1]
    assert {"bb05582b", "0c40e715"} <= names[2]
    assert sum(map(len, names)) == len(SPEAKERS)
    assert set.union(*names) == set(SPEAKERS)


def test_files_are_divided_class_by_class(folder):
    """By speakers, the test files of a folder of 36 bird songs were all of one species."""
    parts = wav_folder(folder, split="files", shares=(0.2, 0.4), seconds=0.1)
    counts = [np.bincount(part.targets, minlength=2).tolist() for part in parts]
    assert counts == [[3, 3], [1, 1], [2, 2]]
    assert len(set.union(*map(contents, parts))) == 12
    parts_by_default = wav_folder(folder, split="files")
    assert [np.bincount(part.targets).tolist() for part in parts_by_default] == [[4, 4], [1, 1], [1, 1]]
    more = folder / "yes" / "000000ac_nohash_0.wav"
    more.write_bytes((folder / "yes" / "000000aa_nohash_0.wav").read_bytes())
    again = wav_folder(folder, split="files", shares=(0.2, 0.4), seconds=0.1)
    of_no = [{file for file in contents(part) if file[0] == "n"} for part in (*parts, *again)]
    assert of_no[:3] == of_no[3:], "a file more in one class moves none of another"


def test_sounds_become_batches(folder, tmp_path_factory):
    train, *_ = wav_folder(folder, seconds=0.1, transform=LogMel(mels=12))
    x, y = next(iter(Loader(train, batch_size=4, shuffle=False)))
    assert x.shape == (10, 4, 12)
    assert y.tolist() == train.targets[:4].tolist()
    assert x[:, y == 1, :5].sum() > x[:, y == 1, 6:].sum()  # "yes" is the low tone
    cached = Cached(train, tmp_path_factory.mktemp("cache")).fill()
    np.testing.assert_array_equal(next(iter(Loader(cached, batch_size=4, shuffle=False)))[0], x)
    kept = train.in_memory()
    np.testing.assert_array_equal(next(iter(Loader(kept, batch_size=4, shuffle=False)))[0], x)
    with pytest.raises(DataError, match="LogMel"):
        next(iter(Loader(wav_folder(folder)[0])))


def test_a_damaged_recording_is_named_when_it_is_read(folder):
    (folder / "no" / "bb05582b_nohash_0.wav").write_bytes(b"RIFF")
    _, _, test = wav_folder(folder, transform=LogMel())
    with pytest.raises(DataFileError, match="bb05582b_nohash_0.wav: not a WAV"):
        next(iter(Loader(test)))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (None, {"split": "random"}, "split='random'"),
        (None, {"shares": (0.9, 0.2), "split": "speakers"}, "shares="),
        (None, {"shares": (0.0, 0.5), "split": "speakers"}, "no recordings to validate"),
        (None, {"split": "files", "shares": (0.45, 0.5)}, "class 'no' has 6 files, of which .* leave none to train on"),
        (None, {"split": "speaker"}, "use 'lists', 'speakers' or 'files'"),
        (None, {"shares": (0.3, 0.3)}, "shares=.* has no effect on the lists: pass split='speakers'"),
        (None, {"seconds": -1.0}, "seconds=-1.0"),
        (None, {"classes": ()}, "names no folder"),
        (None, {"classes": ("maybe",)}, "no folder 'maybe'"),
        (None, {"classes": ("no", "yes", "no")}, "name each folder once"),
        (lambda f: (f / "testing_list.txt").unlink(), {}, "testing_list.txt: absent.*split='speakers'"),
        (lambda f: (f / "testing_list.txt").write_text("no/x.wav"), {}, "names no/x.wav, which is not in"),
        (
            lambda f: (f / "testing_list.txt").write_text("no/a69b9b3e_nohash_0.wav"),
            {},
            "_list.txt names, too",
        ),
        (lambda f: (f / "maybe").mkdir(), {}, "maybe: has no .wav files"),
    ],
)
def test_wrong_folders_are_refused(folder, change, options, message):
    if change:
        change(folder)
    with pytest.raises(DataError, match=message):
        wav_folder(folder, **options)


def test_a_folder_without_classes(tmp_path):
    with pytest.raises(DataFileError, match="no such folder"):
        wav_folder(tmp_path / "absent")
    with pytest.raises(DataFileError, match="need one for each class"):
        wav_folder(tmp_path)
    assert "LogMel" in dir(transforms)
