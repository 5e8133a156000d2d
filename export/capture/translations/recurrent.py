"""LSTM whose hidden state is projected to fewer values."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten
States = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _lstm(
    x: torch.Tensor,
    hx: Sequence[torch.Tensor],
    params: Sequence[torch.Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> States:
    directions = 1 + bidirectional
    per_direction = 5 if has_biases else 3
    hidden, cell = hx
    last_hidden, last_cell = [], []
    if batch_first:
        x = x.transpose(0, 1)
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            weights = params[place * per_direction : (place + 1) * per_direction]
            sequence = x.flip(0) if direction else x
            output, h, c = _direction(sequence, hidden[place], cell[place], weights)
            outputs.append(output.flip(0) if direction else output)
            last_hidden.append(h)
            last_cell.append(c)
        x = torch.cat(outputs, dim=-1)
    if batch_first:
        x = x.transpose(0, 1)
    return x, torch.cat(last_hidden), torch.cat(last_cell)


def _direction(
    x: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor, weights: Sequence[torch.Tensor]
) -> States:
    """One layer in one direction, as an LSTM without projection.

    Its recurrent weights read the full state through the projection: W_hh·(W_hr·h) is
    (W_hh·W_hr)·h. The first hidden state, which is known only after the projection, comes in as
    further inputs that are zero from the second step on.
    """
    w_ih, w_hh, *biases, w_hr = weights
    first = hidden.unsqueeze(0)
    later = torch.zeros(x.shape[0] - 1, *hidden.shape, dtype=x.dtype)
    inputs = torch.cat([x, torch.cat([first, later])], dim=-1)
    flat = [torch.cat([w_ih, w_hh], dim=1), w_hh @ w_hr, *biases]
    begin = [torch.zeros_like(cell).unsqueeze(0), cell.unsqueeze(0)]
    output, _, c = torch.lstm(inputs, begin, flat, bool(biases), 1, 0.0, False, False, False)
    projected = output @ w_hr.T
    return projected, projected[-1:], c


def _is_projected(
    x: torch.Tensor, hx: Sequence[torch.Tensor], params: Sequence[torch.Tensor], *_args: object
) -> bool:
    return hx[0].shape[-1] != hx[1].shape[-1]


TABLE: Table = {_aten.lstm.input: Translation(_lstm, _is_projected)}
