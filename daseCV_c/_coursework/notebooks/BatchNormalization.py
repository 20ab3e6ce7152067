# %% [markdown] lang="en"
# # Batch normalization
#
# A deep network is easier to train when the inputs of each layer have mean 0 and variance 1. The images can be brought to that
# beforehand; the inputs of later layers change with every step. Batch normalization [1] does it inside the network: it
# takes the mean and the variance of each feature over the batch, normalizes, and then scales and shifts by two learned
# parameters, gamma and beta. Running averages of both take their place at test time, when a batch may be a single image.
#
# [1] Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
# ICML 2015, https://arxiv.org/abs/1502.03167

# %% [markdown] lang="zh"
# # 批归一化
#
# 当每一层的输入均值为 0、方差为 1 时，深层网络更容易训练。图像可以事先这样处理；后面各层的输入却随每一步而改变。批归一化 [1] 在网络
# 内部完成这件事：它求出每个特征在一个批次上的均值和方差，进行归一化，再用两个可学习的参数 gamma 和 beta 缩放和平移。测试时一个批次
# 可能只有一张图像，于是用两者的滑动平均代替。
#
# [1] Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
# ICML 2015, https://arxiv.org/abs/1502.03167

# %% tags=["common"]

# %% [markdown] lang="en"
# ## Forward: training
#
# $$\hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad out = \gamma \hat x + \beta$$
#
# with $\mu$ and $\sigma^2$ of each feature over the batch; the variance is the biased one. Features at the end of a small
# random network are anything but normalized. With $\gamma = 1$, $\beta = 0$ they come out with mean 0 and deviation 1, with other
# parameters with mean $\beta$ and deviation $\gamma$.

# %% [markdown] lang="zh"
# ## 前向：训练
#
# $$\hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad out = \gamma \hat x + \beta$$
#
# 其中 $\mu$ 和 $\sigma^2$ 是每个特征在批次上的均值和方差，方差取有偏的那个。一个随机小网络末端的特征远没有归一化。$\gamma = 1$、
# $\beta = 0$ 时，输出的均值为 0、标准差为 1；参数取别的值时，均值为 $\beta$，标准差为 $\gamma$。

# %%
def two_layers(X, W1, W2):
    hidden, _ = affine_relu_forward(X, W1, np.zeros(W1.shape[1]))
    return affine_forward(hidden, W2, np.zeros(W2.shape[1]))[0]


def random_features(samples=200, sizes=(50, 60, 3)):
    """Features at the end of a random network with ReLU between its layers."""
    inputs, hidden, outputs = sizes
    return two_layers(np.random.randn(samples, inputs), np.random.randn(inputs, hidden), np.random.randn(hidden, outputs))


def show(label, features, axis=0):
    print(f"{label}: means {features.mean(axis=axis).round(4)}, deviations {features.std(axis=axis).round(4)}")


np.random.seed(231)
features = random_features()
show("before", features)
for gamma, beta in [(np.ones(3), np.zeros(3)), (np.array([1.0, 2.0, 3.0]), np.array([11.0, 12.0, 13.0]))]:
    normalized, _ = batchnorm_forward(features, gamma, beta, {"mode": "train"})
    show(f"gamma {gamma}, beta {beta}", normalized)
    report("means", np.abs(normalized.mean(axis=0) - beta).max(), 1e-8)
    report("deviations", np.abs(normalized.std(axis=0) - gamma).max(), 1e-6)

# %% [markdown] lang="en"
# ## Forward: testing
#
# Fifty training batches warm the running averages up. At test time means and deviations are then close to 0 and 1, with more
# noise than in training.

# %% [markdown] lang="zh"
# ## 前向：测试
#
# 先用五十个训练批次使滑动平均稳定下来。测试时均值和标准差就接近 0 和 1，但比训练时噪声更大。

# %%
np.random.seed(231)
bn_param, gamma, beta = {"mode": "train"}, np.ones(3), np.zeros(3)
W1, W2 = np.random.randn(50, 60), np.random.randn(60, 3)
for bn_param["mode"] in ["train"] * 50 + ["test"]:
    normalized, _ = batchnorm_forward(two_layers(np.random.randn(200, 50), W1, W2), gamma, beta, bn_param)
show("at test time", normalized)
report("means", np.abs(normalized.mean(axis=0)).max(), 0.25)
report("deviations", np.abs(normalized.std(axis=0) - 1).max(), 0.25)

# %% [markdown] lang="en"
# ## Backward
#
# The mean and the variance depend on every sample, so the gradient takes three ways through the layer: straight through
# $x - \mu$, through $\mu$, and through $\sigma^2$. `batchnorm_backward` walks back through the graph node by node.

# %% [markdown] lang="zh"
# ## 反向
#
# 均值和方差依赖于每个样本，所以梯度经三条路径穿过这一层：直接经过 $x - \mu$，经过 $\mu$，以及经过 $\sigma^2$。
# `batchnorm_backward` 沿计算图逐个节点往回走。

# %%
np.random.seed(231)
inputs = {"x": 5 * np.random.randn(4, 5) + 12, "gamma": np.random.randn(5), "beta": np.random.randn(5)}
upstream = np.random.randn(4, 5)


def in_training(x, gamma, beta):
    return batchnorm_forward(x, gamma, beta, {"mode": "train"})


check_layer(in_training, batchnorm_backward, inputs, upstream, bound=1e-7)

# %% [markdown] lang="en"
# ## The other backward
#
# On paper the three ways simplify to one line. `batchnorm_backward_alt` computes that, and gives the same numbers. The times
# of daseCV's are those of the NumPy twins, since its compiled functions share one kernel.

# %% [markdown] lang="zh"
# ## 另一种反向
#
# 在纸上推导，三条路径化简成一行。`batchnorm_backward_alt` 按此计算，给出相同的数。对 daseCV 的函数，下面的时间属于 NumPy 版本，因为
# 编译的两个函数共用一个内核。

# %% [markdown] lang="en" tags=["answer"]
# With $dout$ times $\gamma$ written as $g$:
#
# $$dx = \frac{1}{\sqrt{\sigma^2 + \epsilon}}\left(g - \frac{1}{N}\sum_n g_n - \hat x\,\frac{1}{N}\sum_n g_n \hat x_n\right)$$

# %% [markdown] lang="zh" tags=["answer"]
# 把 $dout$ 乘以 $\gamma$ 记作 $g$：
#
# $$dx = \frac{1}{\sqrt{\sigma^2 + \epsilon}}\left(g - \frac{1}{N}\sum_n g_n - \hat x\,\frac{1}{N}\sum_n g_n \hat x_n\right)$$

# %%
import time

import daseCV_c

np.random.seed(231)
X, gamma, beta = 5 * np.random.randn(100, 500) + 12, np.random.randn(500), np.random.randn(500)
upstream = np.random.randn(100, 500)
with daseCV_c.use_backend("numpy"):
    _, cache = in_training(X, gamma, beta)
    seconds = {}
    for backward in (batchnorm_backward, batchnorm_backward_alt):
        began = time.perf_counter()
        for _ in range(20):
            gradients = backward(upstream, cache)
        seconds[backward.__name__] = (time.perf_counter() - began) / 20
        print(f"{backward.__name__}: {1e6 * seconds[backward.__name__]:.0f} us")
    for name, first, second in zip("x gamma beta".split(), batchnorm_backward(upstream, cache), gradients, strict=True):
        report(f"d{name} difference", relative_error(first, second), 1e-9)

# %% [markdown] lang="en"
# ## Networks with batch normalization
#
# `FullyConnectedNet` with `normalization="batchnorm"` puts it between each affine layer and its ReLU, but for the last layer. The
# gradients of the biases before it are zero, because the mean is subtracted: there an error means nothing. The others
# should be small.

# %% [markdown] lang="zh"
# ## 带批归一化的网络
#
# `normalization="batchnorm"` 的 `FullyConnectedNet` 把它放在每个仿射层与其 ReLU 之间，最后一层除外。它前面的偏置梯度为零，因为均值被
# 减去了：那里的误差没有意义。其余的误差应当很小。

# %%
def check_normalized(normalization):
    np.random.seed(231)
    samples, features, classes = 4, 15, 10
    X, y = np.random.randn(samples, features), np.random.randint(classes, size=samples)
    for reg in (0, 3.14):
        print(f"reg {reg}")
        model = FullyConnectedNet([20, 30], input_dim=features, num_classes=classes, reg=reg, weight_scale=5e-2,
                                  dtype=np.float64, normalization=normalization)
        loss, grads = model.loss(X, y)
        print(f"first loss {float(loss)}")
        if normalization == "batchnorm":
            report("b1, b2 gradient", max(np.abs(grads.pop(name)).max() for name in ("b1", "b2")), 1e-10)
        for name in sorted(grads):
            numerical = eval_numerical_gradient(lambda _: model.loss(X, y)[0], model.params[name], verbose=False)
            report(f"{name} error", relative_error(numerical, grads[name]), 1e-3 if name in ("W1", "W2") else 1e-5)


check_normalized("batchnorm")

# %% [markdown] lang="en"
# ## Deep networks
#
# A network of six layers learns 1,000 images with and without batch normalization.

# %% [markdown] lang="zh"
# ## 深层网络
#
# 一个六层网络学习 1,000 张图像，一次用批归一化，一次不用。

# %%
thousand = first_images(1000)


def train(hidden_dims, scale, learning_rate, *, normalization=None, epochs=10, batch_size=50, **options):
    """The Solver of one training, which always begins with the same random numbers."""
    np.random.seed(231)
    model = FullyConnectedNet(hidden_dims, input_dim=INPUT_DIM, weight_scale=scale, normalization=normalization)
    solver = Solver(model, thousand, update_rule="adam", optim_config={"learning_rate": learning_rate},
                    num_epochs=epochs, batch_size=batch_size, verbose=False, **options)
    solver.train()
    return solver


def plot_runs(runs):
    """Loss and accuracies of several Solvers, by their labels."""
    figure, panels = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    for label, run in runs.items():
        panels[0].plot(run.loss_history, ".", markersize=3, label=label)
        panels[1].plot(run.train_acc_history, "o-", label=label)
        panels[2].plot(run.val_acc_history, "o-", label=label)
    titles = ["Training loss", "Training accuracy", "Validation accuracy"]
    for panel, title, unit in zip(panels, titles, ["iteration", "epoch", "epoch"], strict=True):
        panel.set(title=title, xlabel=unit)
        panel.legend()
    plt.show()


scale = choose(cifar=2e-2, digits=5e-2)
runs = {label: train([100] * 5, scale, 1e-3, normalization=kind)
        for label, kind in [("batch norm", "batchnorm"), ("without", None)]}
plot_runs(runs)
for label, run in runs.items():
    print(f"{label:>10}: training accuracy after 3 epochs {run.train_acc_history[3]:.3f}, best {max(run.train_acc_history):.3f}; "
          f"best validation accuracy {run.best_val_acc:.3f}")
assert runs["batch norm"].train_acc_history[3] > runs["without"].train_acc_history[3]

# %% [markdown] lang="en"
# ## Batch normalization and initialization
#
# Networks of eight layers, over twenty scales of the initial weights.

# %% [markdown] lang="zh"
# ## 批归一化与初始化
#
# 八层网络，初始权重取二十种尺度。

# %%
import warnings

scales = np.logspace(-4, 0, 20)
by_scale = {}
with warnings.catch_warnings(), np.errstate(all="ignore"):
    warnings.simplefilter("ignore")  # the Solver says where a network has learned nothing: that is what is looked for
    for label, kind in [("batch norm", "batchnorm"), ("without", None)]:
        by_scale[label] = [train([50] * 7, scale, 1e-3, normalization=kind, on_divergence="ignore") for scale in scales]

figure, panels = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
for label, solvers in by_scale.items():
    panels[0].semilogx(scales, [max(s.val_acc_history) for s in solvers], "o-", label=label)
    panels[1].semilogx(scales, [max(s.train_acc_history) for s in solvers], "o-", label=label)
    panels[2].loglog(scales, [np.mean(s.loss_history[-20:]) for s in solvers], "o-", label=label)
titles = ["Best validation accuracy", "Best training accuracy", "Loss of the last 20 steps"]
for panel, title in zip(panels, titles, strict=True):
    panel.set(title=title, xlabel="scale of the weights")
    panel.legend()
plt.show()

learned = {label: int(sum(max(s.train_acc_history) > 0.5 for s in solvers)) for label, solvers in by_scale.items()}
print("scales of twenty with a training accuracy above 50%:", learned)
assert learned["batch norm"] > learned["without"]

# %% [markdown] lang="en"
# ### Inline question 1
#
# How does the scale of the initial weights change the training with and without batch normalization, and why?

# %% [markdown] lang="zh"
# ### 思考题 1
#
# 初始权重的尺度对有、无批归一化的训练各有什么影响？为什么？

# %% [markdown] lang="en" tags=["answer"]
# **Answer.** Without it there is a narrow range of scales at which the network learns. Below, each layer makes the signal
# smaller, and after eight of them the scores are the same for all images; above, the signal grows from layer to layer, the first
# losses are huge, and so are the gradients. Batch normalization divides each layer's output by its own deviation: scaling
# the weights by a constant changes nothing in the output, and the range is several powers of ten wide. It ends too. Below
# about 0.002 the variance is no longer large beside $\epsilon$, which the division does not take out. Very large weights
# train worse because the last layer has no normalization, and because a step of the same length turns a large weight
# vector less.

# %% [markdown] lang="zh" tags=["answer"]
# **答。** 没有批归一化时，只有很窄的一段尺度能让网络学习。低于它，每一层都把信号变小，八层之后所有图像的得分都一样；高于它，信号逐层
# 增大，初始损失和梯度都非常大。批归一化把每一层的输出除以它自己的标准差：权重乘以常数，输出不变，于是可用的范围宽达几个数量级。
# 这个范围也有尽头：尺度低于约 0.002 时，方差与 $\epsilon$ 相比不再算大，而除法并不能消去 $\epsilon$。权重非常大时训练变差，因为
# 最后一层没有归一化，而且同样长的一步对大的权重向量转动得更少。

# %% [markdown] lang="en"
# ## Batch normalization and the batch size
#
# Networks of six layers with batches of 5, 10 and 50 images, beside one without normalization.

# %% [markdown] lang="zh"
# ## 批归一化与批次大小
#
# 六层网络，批次为 5、10 和 50 张图像，旁边是一个没有归一化的网络。

# %%
def by_batch_size(kind):
    rate = 10**-3.5
    runs = {"without, 10": train([100] * 5, scale, rate, batch_size=10)}
    for size in (5, 10, 50):
        runs[f"{kind}, {size}"] = train([100] * 5, scale, rate, normalization=kind, batch_size=size)
    figure, panels = plt.subplots(1, 2, figsize=(11, 4))
    for label, run in runs.items():
        panels[0].plot(run.train_acc_history, "o-", label=label)
        panels[1].plot(run.val_acc_history, "o-", label=label)
    for panel, title in zip(panels, ["Training accuracy", "Validation accuracy"], strict=True):
        panel.set(title=title, xlabel="epoch")
        panel.legend(loc="lower right")
    plt.show()
    for label, run in runs.items():
        print(f"{label:>14}: training accuracy {np.mean(run.train_acc_history[-3:]):.3f}, validation accuracy "
              f"{np.mean(run.val_acc_history[-3:]):.3f} (last three epochs)")
    return runs


runs = by_batch_size("batchnorm")

# %% [markdown] lang="en"
# ### Inline question 2
#
# What do these runs say about batch normalization and the batch size, and why is it so?

# %% [markdown] lang="zh"
# ### 思考题 2
#
# 这些训练说明批归一化与批次大小有什么关系？为什么？

# %% [markdown] lang="en" tags=["answer"]
# **Answer.** With batches of five the training accuracy rises least far, although it makes the most steps. The mean and the variance
# of five images are noisy guesses of those of all images; each image is normalized by the company it happens to have, and
# at test time by averages instead. With more images the guesses are better. Small batches make ten times as many
# steps, so the curve of 50 rises more slowly per epoch at first.

# %% [markdown] lang="zh" tags=["answer"]
# **答。** 批次为五时，尽管步数最多，训练准确率却上升得最少。五张图像的均值和方差是对全体图像均值和方差的粗略估计；每张图像由恰好与它
# 同批的图像来归一化，测试时却改用平均值。图像越多，估计越好。小批次的步数是十倍，所以批次为 50 的曲线起初每个 epoch 上升得较慢。

# %% [markdown] lang="en"
# ## Layer normalization
#
# Layer normalization [2] takes mean and variance of each *sample* over its features. It needs no other samples and no running
# averages, and does the same in training and at test time.
#
# [2] Ba, Kiros and Hinton, "Layer Normalization", 2016, https://arxiv.org/abs/1607.06450
#
# ### Inline question 3
#
# Which of these is like batch normalization, and which like layer normalization: (1) scale each image so that its pixels
# sum up to 1, (2) subtract the mean image of the data set, (3) make each row of each image sum up to 1,
# (4) set pixels to 0 or 1 by a threshold?

# %% [markdown] lang="zh"
# ## 层归一化
#
# 层归一化 [2] 对每个*样本*的各个特征求均值和方差。它不需要别的样本，也不需要滑动平均，训练和测试时做的事一样。
#
# [2] Ba, Kiros and Hinton, "Layer Normalization", 2016, https://arxiv.org/abs/1607.06450
#
# ### 思考题 3
#
# 下列处理中哪个像批归一化，哪个像层归一化：(1) 缩放每张图像，使其像素之和为 1；(2) 减去数据集的平均图像；(3) 使每张图像的每一行之和
# 为 1；(4) 按阈值把像素设为 0 或 1？

# %% [markdown] lang="en" tags=["answer"]
# **Answer.** (2) is like batch normalization: a number of each pixel, taken over the images. (1) is like layer normalization: a
# number of each image, taken over its pixels. (3) takes numbers of parts of one image, which is nearer to group
# normalization, and (4) takes none at all.

# %% [markdown] lang="zh" tags=["answer"]
# **答。** (2) 像批归一化：每个像素一个数，在各图像上求得。(1) 像层归一化：每张图像一个数，在它的各像素上求得。(3) 用的是一张图像各部分
# 的数，更接近组归一化；(4) 什么数都没有求。

# %%
np.random.seed(231)
features = random_features(samples=4, sizes=(50, 60, 3))
show("before", features, axis=1)
for gamma, beta in [(np.ones(3), np.zeros(3)), (3 * np.ones(3), 5 * np.ones(3))]:
    normalized, _ = layernorm_forward(features, gamma, beta, {})
    show(f"gamma {gamma}, beta {beta}", normalized, axis=1)
    report("means", np.abs(normalized.mean(axis=1) - beta[0]).max(), 1e-8)
    report("deviations", np.abs(normalized.std(axis=1) - gamma[0]).max(), 1e-5)

# %%
np.random.seed(231)
inputs = {"x": 5 * np.random.randn(4, 5) + 12, "gamma": np.random.randn(5), "beta": np.random.randn(5)}
check_layer(lambda x, gamma, beta: layernorm_forward(x, gamma, beta, {}), layernorm_backward, inputs,
            np.random.randn(4, 5), bound=1e-7)
check_normalized("layernorm")

# %% [markdown] lang="en"
# ## Layer normalization and the batch size

# %% [markdown] lang="zh"
# ## 层归一化与批次大小

# %%
runs = by_batch_size("layernorm")

# %% [markdown] lang="en"
# ### Inline question 4
#
# When would layer normalization work badly: (1) in a very deep network, (2) with very few features, (3) with strong
# regularization?

# %% [markdown] lang="zh"
# ### 思考题 4
#
# 层归一化在什么情况下效果差：(1) 网络很深；(2) 特征很少；(3) 正则化很强？

# %% [markdown] lang="en" tags=["answer"]
# **Answer.** (2). It takes its mean and variance over the features of one sample, as batch normalization takes them over the
# samples: with few of them they are noisy, and little is left of what made samples different. With two features all that
# remains is which one is larger. Depth is what it was made for. Strong regularization makes the weights small, which the
# normalization of the hidden layers undoes; what it does to the last layer is the same with any normalization.

# %% [markdown] lang="zh" tags=["answer"]
# **答。** (2)。它在一个样本的各特征上求均值和方差，正如批归一化在各样本上求：特征少，这些数的噪声就大，样本之间的差别也所剩无几。只有
# 两个特征时，剩下的只是哪一个更大。深度正是它所针对的。强正则化使权重变小，隐藏层的归一化会把它抵消；它对最后一层的作用，用哪种归一化
# 都一样。
