"""Lists of synapses, feature maps and learning by Lava's own processes, for emitted circuits; copied as support.py."""

import math

import numpy as np
from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
from scipy.sparse import csr_matrix

from cortexc.compiler.backends.feature_maps import forward, patches, positions, transposed
from cortexc.compiler.backends.lava.ordinary.support import beside


def integers(values, unit):
    """How many units these are."""
    return np.rint(np.asarray(values) / unit).astype(np.int32)


def graded(values, unit, offset):
    """The spikes that become these traces: Lava halves them, and ignores those of 0."""
    return np.maximum(2 * (integers(values, unit) + offset), 1)


def three_factors(dw, epoch, event=0):
    """The rule of a LearningDense whose third factors count as they are sent, without Lava's decay. x2 is `event` where
    a spike comes in the last step of the epoch, else 0."""
    rule = Loihi3FLearningRule(dw=dw, x1_tau=1e18, x2_impulse=event, t_epoch=epoch, rng_seed=0)
    rule.y1_tau = 1e18
    rule.y2_tau = rule.y3_tau = 1e18
    return rule


def sparse(units, pre, post, cells):
    """The matrix of a list of synapses."""
    places = np.asarray(post, int), np.asarray(pre, int)
    return csr_matrix((units, places), shape=cells[::-1])


class Synapses:
    """A list of synapses: the cells of each, and the order in which their currents are added up."""

    def __init__(self, pre, post, cells, late, order):
        self.pre, self.post, self.cells = np.asarray(pre, int), np.asarray(post, int), cells
        self.late = np.broadcast_to(np.asarray(late, int), self.pre.shape)
        self.order = np.arange(self.pre.size) if order is None else np.asarray(order, int)
        self.numbers = np.argsort(self.order)

    def current(self, w, message, underway=None):
        """Of this step; what is late goes into rows of `underway`, which moves on. A message of 0 sends nothing."""
        underway = np.zeros((1, self.cells[1])) if underway is None else underway
        sent = self.order[message[self.pre[self.order]] != 0]
        np.add.at(underway, (self.late[sent], self.post[sent]), w[sent] * message[self.pre[sent]])
        current = underway[0].copy()
        underway[:-1], underway[-1] = underway[1:].copy(), 0.0
        return current

    def currents(self, w, message, underway=None):
        """Of every seed and sample."""
        w, found = beside(w, message, 1), np.empty((self.cells[1], *message.shape[1:]))
        w = np.broadcast_to(w, (len(w), *message.shape[1:]))
        for at in np.ndindex(message.shape[1:]):
            own = (..., *at)
            found[own] = self.current(w[own], message[own], None if underway is None else underway[own])
        return found

    def arrived(self, now, past, age):
        """What the presynaptic cells had when the messages that arrive now, or some steps earlier, were computed."""
        return np.concatenate((now[None], past.reshape(-1, *now.shape)))[age + self.late, self.pre]

    def sums(self, w):
        """Of the weights that end in the cell of each synapse."""
        total = np.zeros((self.cells[1], *w.shape[1:]))
        np.add.at(total, self.post[self.order], w[self.order])
        return total[self.post]


class Maps:
    """Between feature maps: (channels, height, width) of the lower and the upper ones; `back`: from the upper to the
    lower ones. A `local` kernel is another one for every position. Seeds and samples come first inside. Rules see
    (1, positions, channels, taps), local (1, channels, positions, taps)."""

    def __init__(self, pre, post, kernel, stride, padding, pool, back, local):
        self.pre, self.post, self.kernel, self.stride, self.padding = pre, post, kernel, stride, padding
        self.pool, self.back, self.local = pool, back, local
        self.taps, self.positions = pre[0] * kernel * kernel, post[1] * post[2]
        self.channels = post if local else post[:1]

    def current(self, w, message):
        way, cells = transposed if self.back else forward, in_front(message, 1)
        w = self.in_taps(w)
        found = way(self, np.repeat(w, len(cells) // len(w), axis=0) if len(w) > 1 else w, cells)
        return found.T.reshape(-1, *message.shape[1:])

    def in_taps(self, w):
        w = in_front(w, len(self.channels) + 3)
        return w.reshape(len(w), self.post[0], *((self.positions,) if self.local else ()), self.taps)

    def synaptic(self, w):
        return self.in_taps(w) if self.local else self.in_taps(w)[:, None]

    def lower(self, values):
        seen = patches(self, in_front(values, 1))
        return seen[:, None] if self.local else seen[:, :, None]

    def upper(self, values):
        values = in_front(values, 1)
        if self.local:
            return values.reshape(len(values), self.post[0], self.positions, 1)
        return positions(self, values)[..., None]

    def collected(self, value, shape):
        """For every weight, added over the positions that share it."""
        copies = math.prod(shape[len(self.channels) + 3:])
        if self.local:
            total = np.broadcast_to(value, (copies, self.post[0], self.positions, self.taps))
        else:
            value = np.broadcast_to(value, (copies, self.positions, self.post[0], self.taps))
            total = np.add.accumulate(value, axis=1)[:, -1]
        return total.reshape(copies, -1).T.reshape(shape)


def in_front(values, own):
    """All axes behind the first `own` ones as one before them."""
    return np.moveaxis(values.reshape(*values.shape[:own], -1), -1, 0)
