# SPDX-License-Identifier: MIT
"""The models of rdu-mkmodel, written in PyTorch: functions of weights by name and inputs by name."""
import torch
import torch.nn.functional as F


def heads(x, n):
    return x.reshape(*x.shape[:2], n, -1).transpose(1, 2)


def attend(q, k, v, n, causal):
    q, k, v = heads(q, n), heads(k, n), heads(v, n)
    score = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
    if causal:
        seen = torch.ones(score.shape[-2:], dtype=torch.bool).tril()
        score = score.masked_fill(~seen, -float("inf"))
    return (score.softmax(-1) @ v).transpose(1, 2).flatten(2)


def norm(w, name, x):
    return F.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"])


def product(w, name, x):
    """With weights [in, out], perhaps masked, and perhaps one of low rank beside it."""
    if name + ".mask" not in w:
        return x @ w[name + ".weight"] + w[name + ".bias"]
    y = x @ (w[name + ".weight"] * w[name + ".mask"].detach()) + w[name + ".bias"]
    return y + x @ w[name + ".lr.u"] @ w[name + ".lr.v"] if name + ".lr.u" in w else y


def gelu(y):
    return 0.5 * y * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (y + 0.044715 * y ** 3)))


def block(w, h, x, n, causal=True):
    q, k, v = product(w, h + ".attn.c_attn", norm(w, h + ".ln_1", x)).chunk(3, -1)
    x = x + product(w, h + ".attn.c_proj", attend(q, k, v, n, causal))
    return x + product(w, h + ".mlp.c_proj", gelu(product(w, h + ".mlp.c_fc", norm(w, h + ".ln_2", x))))


def gpt_block(w, x):
    return block(w, "h.0", x["x"], 4)


def gpt(layers, n):
    def run(w, x):
        y = w["wte.weight"][x["input_ids"]] + w["wpe.weight"]
        for i in range(layers):
            y = block(w, f"h.{i}", y, n)
        return norm(w, "ln_f", y) @ w["wte.weight"].T
    return run


def patches(w, x):
    y = F.conv2d(x, w["patches.weight"], w["patches.bias"], stride=w["patches.weight"].shape[-1])
    return y.flatten(2).transpose(1, 2)


def classes(w, y):
    return norm(w, "norm", y).mean(1) @ w["head.weight"].T + w["head.bias"]


def vit(layers, n):
    def run(w, x):
        y = patches(w, x["x"]) + w["wpe.weight"]
        for i in range(layers):
            y = block(w, f"h.{i}", y, n, False)
        return classes(w, y)
    return run


def mixer(layers):
    def two(w, name, x):
        return product(w, name + ".fc2", gelu(product(w, name + ".fc1", x)))

    def run(w, x):
        y = patches(w, x["x"])
        for i in range(layers):
            h = f"blocks.{i}."
            y = y + two(w, h + "mlp_tokens", norm(w, h + "norm1", y).transpose(1, 2)).transpose(1, 2)
            y = y + two(w, h + "mlp_channels", norm(w, h + "norm2", y))
        return classes(w, y)
    return run


# ---- llama, bitnet, matmulfree ------------------------------------------------------------------


def rms_norm(w, name, x, epsilon):
    return w[name + ".weight"] * (x * (1 / (x.pow(2).mean(-1, keepdim=True) + epsilon).sqrt()))


def through(x, q):
    """The value of q, and the gradient of x."""
    return x + (q - x).detach()


def bit_linear(w, name, x):
    """BitNet b1.58, as its authors' training code has it."""
    x, m = rms_norm(w, name + ".norm", x, 1e-8), w[name + ".weight"]
    s = 127 / x.abs().max(-1, keepdim=True).values.clamp(min=1e-5)
    t = 1 / m.abs().mean().clamp(min=1e-5)
    return through(x, (x * s).round().clamp(-128, 127) / s) @ through(m, (m * t).round().clamp(-1, 1) / t).T


def linear(w, name, x):
    return x @ w[name + ".weight"].T


def llama(layers, n, kv, product=linear):
    def rotate(x):
        d = x.shape[-1]
        a = torch.arange(x.shape[2])[:, None] / 10000 ** (torch.arange(0, d, 2, dtype=torch.float64) / d)
        c, s = a.cos().float(), a.sin().float()
        x, y = x.chunk(2, -1)
        return torch.cat((x * c - y * s, y * c + x * s), -1)

    def run(w, x):
        y = w["embed_tokens.weight"][x["input_ids"]]
        for i in range(layers):
            h = f"layers.{i}."
            z = rms_norm(w, h + "input_layernorm", y, 1e-6)
            q, k, v = (heads(product(w, f"{h}self_attn.{p}_proj", z), m) for p, m in zip("qkv", (n, kv, kv)))
            q, k = rotate(q), rotate(k)
            k, v = k.repeat_interleave(n // kv, 1), v.repeat_interleave(n // kv, 1)
            score = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
            score = score.masked_fill(~torch.ones(score.shape[-2:], dtype=torch.bool).tril(), -float("inf"))
            z = (score.softmax(-1) @ v).transpose(1, 2).flatten(2)
            y = y + product(w, h + "self_attn.o_proj", z)
            z = rms_norm(w, h + "post_attention_layernorm", y, 1e-6)
            z = F.silu(product(w, h + "mlp.gate_proj", z)) * product(w, h + "mlp.up_proj", z)
            y = y + product(w, h + "mlp.down_proj", z)
        return linear(w, "lm_head", rms_norm(w, "norm", y, 1e-6))
    return run


def matmulfree(layers):
    def mlgru(w, h, x, bound):
        f, i, g = (bit_linear(w, f"{h}.{p}_proj", x) for p in "fig")
        f = bound + (1 - bound) * f.sigmoid()
        i = F.silu(i) * (1 - f)
        state, states = torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            state = f[:, t] * state + i[:, t]
            states.append(state)
        return bit_linear(w, h + ".o_proj", rms_norm(w, h + ".g_norm", g, 1e-5) * F.silu(torch.stack(states, 1)))

    def run(w, x):
        y = w["embed_tokens.weight"][x["input_ids"]]
        bounds = [0.0]
        if layers > 1:
            p = w["lower_bounds"].softmax(0)
            bounds = p.cumsum(0) - p[0]
        for i in range(layers):
            h = f"layers.{i}."
            y = y + mlgru(w, h + "attn", rms_norm(w, h + "attn_norm", y, 1e-6), bounds[i] if i else 0.0)
            g, u = bit_linear(w, h + "mlp.gate_proj", rms_norm(w, h + "mlp_norm", y, 1e-6)).chunk(2, -1)
            y = y + bit_linear(w, h + "mlp.down_proj", F.silu(g) * u)
        return bit_linear(w, "lm_head", rms_norm(w, "norm", y, 1e-6))
    return run


def attention(causal):
    def run(w, x):
        q, k, v = (x["x"] @ w[f"{p}_proj.weight"] for p in "qkv")
        return attend(q, k, v, 2, causal) @ w["out_proj.weight"]
    return run


def conv(w, name, x, **k):
    return F.conv2d(x, w[name + ".weight"], w[name + ".bias"], **k)


def resnet(bottleneck):
    def run(w, x):
        y = F.max_pool2d(F.relu(conv(w, "conv1", x["x"], stride=2, padding=3)), 3, 2, 1)
        for name in dict.fromkeys(n.rsplit(".conv", 1)[0] for n in w if n.startswith("layer") and ".conv" in n):
            s = 2 if name[5:] in ("2.0", "3.0", "4.0") else 1
            z = y
            if bottleneck:
                z = F.relu(conv(w, name + ".conv1", z))
                z = F.relu(conv(w, name + ".conv2", z, stride=s, padding=1))
                z = conv(w, name + ".conv3", z)
            else:
                z = F.relu(conv(w, name + ".conv1", z, stride=s, padding=1))
                z = conv(w, name + ".conv2", z, padding=1)
            if name + ".downsample.0.weight" in w:
                y = conv(w, name + ".downsample.0", y, stride=s)
            y = F.relu(z + y)
        return F.linear(y.mean((2, 3)), w["fc.weight"], w["fc.bias"])
    return run


def unet(w, x):
    def double(name, y):
        return F.relu(conv(w, name + ".2", F.relu(conv(w, name + ".0", y, padding=1)), padding=1))

    y, skip = x["x"], {}
    for i in (1, 2):
        skip[i] = double(f"down{i}", y)
        y = F.max_pool2d(skip[i], 2)
    y = double("bottom", y)
    for i in (2, 1):
        y = F.conv_transpose2d(y, w[f"up{i}.weight"], w[f"up{i}.bias"], 2)
        y = double(f"conv{i}", torch.cat((skip[i], y), 1))
    return conv(w, "out", y)


def dlrm(w, x):
    def layers(path, y, last):
        n = sum(k.startswith(path) and k.endswith(".weight") for k in w)
        for i in range(n):
            y = F.linear(y, w[f"{path}.{2 * i}.weight"], w[f"{path}.{2 * i}.bias"])
            y = F.relu(y) if last or i < n - 1 else y
        return y

    y = layers("bottom", x["dense"], True)
    t = torch.stack([y] + [w[f"emb.{i}.weight"][ids] for i, ids in enumerate(x["sparse"])], 1)
    z = t @ t.transpose(1, 2)
    i, k = torch.tril_indices(t.shape[1], t.shape[1], -1)
    return layers("top", torch.cat((y, z[:, i, k]), 1), False).sigmoid()


def mlp(w, x):
    y = F.relu(F.linear(x["x"], w["fc1.weight"], w["fc1.bias"]))
    y = F.relu(F.linear(y, w["fc2.weight"], w["fc2.bias"]))
    return F.linear(y, w["fc3.weight"], w["fc3.bias"])


def cnn(w, x):
    y = F.max_pool2d(F.relu(conv(w, "conv1", x["x"], padding=1)), 2)
    y = F.max_pool2d(F.relu(conv(w, "conv2", y, padding=1)), 2)
    y = F.relu(F.linear(y.flatten(1), w["fc1.weight"], w["fc1.bias"]))
    return F.linear(y, w["fc2.weight"], w["fc2.bias"])


def lstm(w, x):
    layers, params = x["h0"].shape[0], []

    def gates(a):  # ONNX: input, output, forget, cell
        i, o, f, c = a.chunk(4)
        return torch.cat((i, f, c, o))

    for i in range(layers):
        params += [gates(w[f"lstm.weight_ih_l{i}"][0]), gates(w[f"lstm.weight_hh_l{i}"][0])]
        params += [gates(b) for b in w[f"lstm.bias_l{i}"][0].chunk(2)]
    # nn.LSTM, with weights that gradients go to
    y, hn, cn = torch._VF.lstm(x["x"], (x["h0"], x["c0"]), params, True, layers, 0.0, True, False, False)
    return {"y": y, "hn": hn, "cn": cn}


def gru(w, x):
    layers, params = x["h0"].shape[0], []

    def gates(a):  # ONNX: update, reset, hidden
        z, r, h = a.chunk(3)
        return torch.cat((r, z, h))

    for i in range(layers):
        params += [gates(w[f"gru.weight_ih_l{i}"][0]), gates(w[f"gru.weight_hh_l{i}"][0])]
        params += [gates(b) for b in w[f"gru.bias_l{i}"][0].chunk(2)]
    y, hn = torch._VF.gru(x["x"], x["h0"], params, True, layers, 0.0, True, False, False)
    return {"y": y, "hn": hn}


def of_tokens(net, layers):
    """A language model of such layers, from a state of zeros."""
    def run(w, x):
        y = w["emb.weight"][x["input_ids"]].transpose(0, 1)
        zero = torch.zeros(layers, y.shape[1], w["head.weight"].shape[1])
        return linear(w, "head", net(w, {"x": y, "h0": zero, "c0": zero})["y"].transpose(0, 1))
    return run


def alexnet(w, x):
    y = x["x"]
    for i, stride, pad, pool in ((0, 4, 2, True), (3, 1, 2, True), (6, 1, 1, False), (8, 1, 1, False),
                                 (10, 1, 1, True)):
        y = F.relu(conv(w, f"features.{i}", y, stride=stride, padding=pad))
        y = F.max_pool2d(y, 3, 2) if pool else y
    y = y.flatten(1)
    for i in (1, 4, 6):
        y = F.linear(y if i == 1 else F.relu(y), w[f"classifier.{i}.weight"], w[f"classifier.{i}.bias"])
    return y


def uno(w, x):
    def layers(path, y):
        for i in range(sum(k.startswith(path) and k.endswith(".weight") for k in w)):
            y = F.relu(F.linear(y, w[f"{path}{2 * i}.weight"], w[f"{path}{2 * i}.bias"]))
        return y

    y = layers("top.", torch.cat((layers("cell.", x["cell"]), layers("drug.", x["drug"]), x["dose"]), 1))
    return F.linear(y, w["response.weight"], w["response.bias"])


def rwkv4(layers):
    def norm(w, name, x):
        return F.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"])

    def mix(w, h, what, x):
        mu = w[f"{h}.time_mix_{what}"]
        return x * mu + F.pad(x, (0, 0, 1, 0))[:, :-1] * (1 - mu)

    def weighted(w, h, k, v):
        """Straight from the definition, with all exponentials of a token at once."""
        decay, bonus = -w[h + ".time_decay"].exp(), w[h + ".time_first"]
        out = []
        for t in range(k.shape[1]):
            e = torch.cat([k[:, :t] + torch.arange(t - 1, -1, -1)[:, None] * decay, k[:, t:t + 1] + bonus], 1)
            out.append((e.softmax(1) * v[:, :t + 1]).sum(1))
        return torch.stack(out, 1)

    def run(w, x):
        y = norm(w, "blocks.0.ln0", w["emb.weight"][x["input_ids"]])
        for i in range(layers):
            a, f = f"blocks.{i}.att", f"blocks.{i}.ffn"
            z = norm(w, f"blocks.{i}.ln1", y)
            k, v, r = (linear(w, f"{a}.{n}", mix(w, a, n[0], z)) for n in ("key", "value", "receptance"))
            y = y + linear(w, a + ".output", r.sigmoid() * weighted(w, a, k, v))
            z = norm(w, f"blocks.{i}.ln2", y)
            k, r = (linear(w, f"{f}.{n}", mix(w, f, n[0], z)) for n in ("key", "receptance"))
            y = y + r.sigmoid() * linear(w, f + ".value", F.relu(k) ** 2)
        return linear(w, "head", norm(w, "ln_out", y))
    return run


def gnn(w, x):
    """Means by a matrix of who has an edge to whom."""
    y, (n, nodes) = x["x"], x["x"].shape[:2]
    a = torch.zeros(n, nodes, nodes)
    for g in range(n):
        for source, target in x["edges"][g].T:
            a[g, target, source] += 1
    a = a / a.sum(2, keepdim=True).clamp(min=1)
    layers = sum(k.endswith(".lin_r.weight") for k in w)
    for i in range(layers):
        h = f"convs.{i}."
        y = (a @ y) @ w[h + "lin_l.weight"].T + w[h + "lin_l.bias"] + y @ w[h + "lin_r.weight"].T
        y = F.relu(y) if i < layers - 1 else y
    return y
