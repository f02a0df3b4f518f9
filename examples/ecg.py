"""An electrocardiogram as spikes: it says when something changes, and little else.

    pip install PyWavelets                                   # it carries the recording
    python examples/ecg.py --picture ecg.png

Level crossing sends a spike up or down each time the signal has moved by a threshold. The signal can be had back from
the spikes to within that threshold, and a single leaky neuron that hears them finds the heartbeats.
"""

import argparse

import numpy as np

import spikecore as sc
from spikecore import spikegen, spikeplot


def recording():
    """1024 samples of an electrocardiogram, scaled to [0, 1]."""
    try:
        import pywt
    except ImportError as error:
        raise SystemExit("the recording comes with PyWavelets: pip install PyWavelets") from error
    samples = pywt.data.ecg().astype(float)
    return (samples - samples.min()) / np.ptp(samples)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Encode an electrocardiogram, decode it, and find its beats.")
    parser.add_argument("--engine", default="torch", help="torch or numpy")
    parser.add_argument("--threshold", type=float, default=0.05, help="fraction of the recording's range")
    parser.add_argument("--quick", action="store_true", help="the first 400 samples")
    parser.add_argument("--picture", help="file for a picture of signal, spikes and beats")
    args = parser.parse_args(arguments)

    wave = recording()[: 400 if args.quick else None]
    signal = wave[:, None, None]  # (time, batch, features)
    spikes = spikegen.level_crossing(signal, threshold=args.threshold, multiple=True)
    delta = spikegen.delta(signal, threshold=args.threshold, padding=True, off_spike=True)
    back = wave[0] + args.threshold * spikes.cumsum(axis=0)[:, 0, 0]
    error = float(abs(back - wave).max())
    sent = int((spikes != 0).sum())
    print(f"level crossing sends at {sent} of {len(wave)} steps; the signal comes back to within {error:.3f}")
    print(f"delta modulation, which drift escapes, sends at {int((delta != 0).sum())}")

    detector = sc.Sequential(sc.Refractory(sc.Leaky(beta=0.8, threshold=0.5), 40))
    model = sc.Model(detector, engine=args.engine, input_shape=(1,))
    out = model(args.threshold * abs(spikes))  # up or down, it is all the same to it
    beats = np.flatnonzero(model.engine.to_numpy(out.spikes)).tolist()
    print(f"{len(beats)} beats, at the samples {beats}")
    if args.picture:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 5), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        above.plot(wave, label="recording")
        above.plot(back, label="from the spikes")
        above.vlines(beats, 0, 1, colors="grey", linestyles=":", label="beats")
        above.legend(frameon=False)
        up_and_down = np.concatenate([spikes < 0, spikes > 0], axis=2)
        below.set_yticks([0, 1], ["down", "up"])
        spikeplot.raster(up_and_down, below, batch_index=0, c="black", marker="|", s=300, linewidths=1)
        figure.savefig(args.picture)
    return {"sent": sent, "error": error, "beats": beats}


if __name__ == "__main__":
    main()
