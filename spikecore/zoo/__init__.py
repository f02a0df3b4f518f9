"""Architectures from papers as networks: functions that return an ``sc.Sequential``, for every engine.

    import spikecore as sc
    from spikecore import zoo

    model = sc.Model(zoo.sew_resnet18(num_classes=10), engine="torch", input_shape=(3, 224, 224))

``zoo.list()`` shows all, ``zoo.card(name)`` one. ``zoo.load_spikingjelly`` takes the weights of SpikingJelly's modules.
``zoo.pretrained(name)`` is a trained model; ``zoo.list_pretrained()`` shows which there are.

Of the core it uses layers, neurons, surrogates and initialisers by their public names; no engine and no array library.

Begin with ``tutorials.py``, the smallest networks, and ``card.py``, what is said of each; then take a family's file.
"""

from spikecore.zoo.card import Card as Card
from spikecore.zoo.catalogue import card as card
from spikecore.zoo.catalogue import list as list
from spikecore.zoo.delays import delay_snn as delay_snn
from spikecore.zoo.plif import plif_net as plif_net
from spikecore.zoo.pretrained import list_pretrained as list_pretrained
from spikecore.zoo.pretrained import pretrained as pretrained
from spikecore.zoo.qkformer import qkformer as qkformer
from spikecore.zoo.residual import ms_resnet18 as ms_resnet18
from spikecore.zoo.residual import sew_resnet18 as sew_resnet18
from spikecore.zoo.residual import sew_resnet34 as sew_resnet34
from spikecore.zoo.residual import sew_resnet50 as sew_resnet50
from spikecore.zoo.residual import spiking_resnet18 as spiking_resnet18
from spikecore.zoo.spike_driven_transformer import spike_driven_transformer as spike_driven_transformer
from spikecore.zoo.spikformer import spikformer as spikformer
from spikecore.zoo.spikingjelly import load_spikingjelly as load_spikingjelly
from spikecore.zoo.tutorials import conv_snn as conv_snn
from spikecore.zoo.tutorials import dense_snn as dense_snn
from spikecore.zoo.vgg import spiking_vgg11 as spiking_vgg11
from spikecore.zoo.vgg import spiking_vgg16 as spiking_vgg16
