# %% [markdown] lang="en"
# # Fully-connected networks
#
# A network whose loss and gradients live in one function is hard to change. Here a network is put together from layers
# instead. Each layer is a pair of functions. The forward function takes the input and the weights, and gives the output
# and a *cache*: whatever its partner will need.
#
# ```python
# out, cache = some_forward(x, w, b)
# ```
#
# The backward function takes the *upstream gradient*, the derivative of the loss by that output, and the cache. It gives
# the derivative of the loss by each input of the forward function.
#
# ```python
# dx, dw, db = some_backward(dout, cache)
# ```
#
# With such pairs, a classifier of any depth is a walk through the layers and back. This notebook checks each layer
# against numbers, builds a two-layer network and a network of any depth from them, and trains them with four update
# rules. Batch and layer normalization and dropout are options of the same network.

# %% [markdown] lang="zh"
# # 全连接网络
#
# 如果网络的损失和梯度都写在同一个函数里，改动起来就很困难。这里改用层来搭建网络。每一层是一对函数：前向函数接收输入和权重，
# 给出输出和一个 *cache*，里面存放反向函数所需的一切。
#
# ```python
# out, cache = some_forward(x, w, b)
# ```
#
# 反向函数接收*上游梯度*（损失对输出的导数）和 cache，给出损失对前向函数每个输入的导数。
#
# ```python
# dx, dw, db = some_backward(dout, cache)
# ```
#
# 有了这样成对的函数，任意深度的分类器就是依次走过各层、再原路返回。这个 notebook 用已知的数检查每一层，用它们搭出两层网络和
# 任意深度的网络，再用四种更新规则训练。批归一化、层归一化和 dropout 是同一个网络的选项。

# %% tags=["common"]

# %% [markdown] lang="en"
# ## Affine layer: forward
#
# `affine_forward` flattens each sample to a row of length $D$ and gives $xW + b$. Two samples of shape 4 x 5 x 6 and three
# outputs, on evenly spaced numbers, have a known answer.

# %% [markdown] lang="zh"
# ## 仿射层：前向
#
# `affine_forward` 把每个样本展平成长度为 $D$ 的一行，给出 $xW + b$。两个形状为 4 x 5 x 6 的样本、三个输出，数值等间距排列时，
# 答案是已知的。

# %%
sample = (4, 5, 6)
x = ramp(-0.1, 0.5, 2, *sample)
w = ramp(-0.2, 0.3, int(np.prod(sample)), 3)
b = ramp(-0.3, 0.1, 3)

scores, _ = affine_forward(x, w, b)
known = np.array([
    [1.49834967, 1.70660132, 1.91485297],
    [3.25553199, 3.5141327, 3.77273342],
])
report("affine_forward", relative_error(scores, known), 1e-9)

# %% [markdown] lang="en"
# ## Affine layer: backward
#
# Three gradients, of $x$, $W$ and $b$, each in the shape of its own. The check compares them with central differences.

# %% [markdown] lang="zh"
# ## 仿射层：反向
#
# $x$、$W$、$b$ 的三个梯度，形状各与自己相同。这里用中心差分来检查它们。

# %% [markdown] lang="en" tags=["answer"]
# For $out = xW + b$ they are $dx = dout\,W^T$, $dW = x^T dout$ and $db = \sum_n dout_n$.

# %% [markdown] lang="zh" tags=["answer"]
# 对 $out = xW + b$，它们是 $dx = dout\,W^T$、$dW = x^T dout$ 和 $db = \sum_n dout_n$。

# %%
np.random.seed(231)
inputs = {"x": np.random.randn(10, 2, 3), "w": np.random.randn(6, 5), "b": np.random.randn(5)}
check_layer(affine_forward, affine_backward, inputs, np.random.randn(10, 5), bound=1e-9)

# %% [markdown] lang="en"
# ## ReLU: forward
#
# $\max(0, x)$ entry by entry. The known answer has eight digits, so the error cannot be much below $10^{-8}$.

# %% [markdown] lang="zh"
# ## ReLU：前向
#
# 逐个元素取 $\max(0, x)$。已知答案只有八位数字，所以误差不会比 $10^{-8}$ 小多少。

# %%
activation, _ = relu_forward(ramp(-0.5, 0.5, 3, 4))
known = np.array([
    [0.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 0.04545455, 0.13636364],
    [0.22727273, 0.31818182, 0.40909091, 0.5],
])
report("relu_forward", relative_error(activation, known), 1e-7)

# %% [markdown] lang="en"
# ## ReLU: backward

# %% [markdown] lang="zh"
# ## ReLU：反向

# %% [markdown] lang="en" tags=["answer"]
# The upstream gradient passes where the input was positive and stops elsewhere.

# %% [markdown] lang="zh" tags=["answer"]
# 输入为正的地方，上游梯度通过；其余地方被截断。

# %%
np.random.seed(231)
inputs = {"x": np.random.randn(10, 10)}
check_layer(relu_forward, relu_backward, inputs, np.random.randn(10, 10), bound=1e-11)

# %% [markdown] lang="en"
# ## Sandwich layers
#
# Some layers nearly always come together. `daseCV/layer_utils.py` has such pairs under one name: an affine layer
# followed by ReLU is `affine_relu_forward` and `affine_relu_backward`.

# %% [markdown] lang="zh"
# ## 三明治层
#
# 有些层几乎总是一起出现。`daseCV/layer_utils.py` 把它们合成一对函数：仿射层后接 ReLU，就是 `affine_relu_forward` 和
# `affine_relu_backward`。

# %%
np.random.seed(231)
inputs = {"x": np.random.randn(2, 3, 4), "w": np.random.randn(12, 10), "b": np.random.randn(10)}
check_layer(affine_relu_forward, affine_relu_backward, inputs, np.random.randn(2, 10), bound=1e-9)

# %% [markdown] lang="en"
# ## Losses: SVM and softmax
#
# Both take the scores and the labels and give the mean loss and its gradient by the scores. With ten classes and scores
# near zero, every margin of the SVM loss is near 1, so the loss is about 9. The softmax loss is about $\ln 10 = 2.303$.

# %% [markdown] lang="zh"
# ## 损失：SVM 与 softmax
#
# 两者都接收得分和标签，给出平均损失及其对得分的梯度。十个类别、得分接近零时，SVM 损失的每个间隔都接近 1，所以损失约为 9；
# softmax 损失约为 $\ln 10 = 2.303$。

# %%
np.random.seed(231)
scores = 0.001 * np.random.randn(50, 10)
labels = np.random.randint(10, size=50)

for loss_function, known, bound in [(svm_loss, 8.999602749096233, 1e-8), (softmax_loss, 2.302545844500738, 1e-7)]:
    numerical = eval_numerical_gradient(lambda s: loss_function(s, labels)[0], scores, verbose=False)
    loss, gradient = loss_function(scores, labels)
    print(f"{loss_function.__name__}: {float(loss)}")
    report("loss", abs(loss - known) / known, 1e-12)
    report("dx error", relative_error(numerical, gradient), bound)

# %% [markdown] lang="en"
# ## Two-layer network
#
# `TwoLayerNet` in `daseCV/classifiers/fc_net.py` is affine - ReLU - affine - softmax. `loss(X)` gives scores, `loss(X, y)`
# gives the loss and a dictionary of gradients with the names of `params`.
#
# The cell checks the initial weights, the scores for fixed weights, the loss without and with regularization, and the
# gradients.

# %% [markdown] lang="zh"
# ## 两层网络
#
# `daseCV/classifiers/fc_net.py` 中的 `TwoLayerNet` 是 仿射 - ReLU - 仿射 - softmax。`loss(X)` 给出得分，`loss(X, y)` 给出损失和
# 一个梯度字典，键与 `params` 相同。
#
# 这个单元检查初始权重、权重固定时的得分、有无正则化时的损失，以及梯度。

# %%
np.random.seed(231)
samples, features, hidden, classes = 3, 5, 50, 7
spread = 1e-3
np.random.randn(samples, features), np.random.randint(classes, size=samples)  # keeps the random numbers in step
model = TwoLayerNet(input_dim=features, hidden_dim=hidden, num_classes=classes, weight_scale=spread)

for layer in "12":
    weights, biases = model.params["W" + layer], model.params["b" + layer]
    report(f"W{layer} spread", abs(weights.std() - spread), spread / 10)
    assert not biases.any(), f"the biases b{layer} should start at zero"

model.params.update(
    W1=ramp(-0.7, 0.3, features, hidden),
    b1=ramp(-0.1, 0.9, hidden),
    W2=ramp(-0.3, 0.4, hidden, classes),
    b2=ramp(-0.9, 0.1, classes),
)
X = ramp(-5.5, 4.5, features, samples).T
known = np.array([
    [11.53165108, 12.2917344, 13.05181771, 13.81190102, 14.57198434, 15.33206765, 16.09215096],
    [12.05769098, 12.74614105, 13.43459113, 14.1230412, 14.81149128, 15.49994135, 16.18839143],
    [12.58373087, 13.20054771, 13.81736455, 14.43418138, 15.05099822, 15.66781506, 16.2846319],
])
report("scores", np.abs(model.loss(X) - known).sum(), 1e-6)

y = np.array([0, 5, 1])
for model.reg, known in [(0.0, 3.4702243556), (1.0, 26.5948426952)]:
    report(f"loss, reg {model.reg}", abs(model.loss(X, y)[0] - known), 1e-10)

for model.reg in (0.0, 0.7):
    print(f"gradients with reg {model.reg}")
    check_network(model, X, y, bound=1e-6)

# %% [markdown] lang="en"
# ## Solver
#
# A `Solver` holds all that concerns training: the batches, the update rule, the learning rate and its decay, the accuracy
# after each epoch, and the best parameters seen so far. The model knows nothing of it.
#
# Here it trains a two-layer network. The aim is an accuracy of at least 50% on the validation images.

# %% [markdown] lang="zh"
# ## Solver
#
# `Solver` 负责与训练有关的一切：批次、更新规则、学习率及其衰减、每个 epoch 之后的准确率，以及迄今最好的参数。模型对此一无所知。
#
# 这里用它训练一个两层网络，目标是在验证图像上达到至少 50% 的准确率。

# %%
np.random.seed(231)
model = TwoLayerNet(
    input_dim=INPUT_DIM,
    hidden_dim=choose(cifar=200, digits=100),
    weight_scale=choose(cifar=1e-3, digits=5e-2),
    reg=0.01,
)
solver = Solver(
    model,
    data,
    optim_config={"learning_rate": choose(cifar=1e-3, digits=2e-2)},
    lr_decay=0.9,
    num_epochs=10,
    print_every=10_000,
)
solver.train()
assert solver.best_val_acc >= 0.5, f"validation accuracy is {solver.best_val_acc}"

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
left.plot(solver.loss_history, ".", markersize=3)
left.set(title="Training loss", xlabel="iteration")
right.plot(solver.train_acc_history, "o-", label="training")
right.plot(solver.val_acc_history, "o-", label="validation")
right.axhline(0.5, color="black", linestyle="--")
right.set(title="Accuracy", xlabel="epoch")
right.legend(loc="lower right")
plt.show()

# %% [markdown] lang="en"
# ## Networks of any depth
#
# `FullyConnectedNet` in the same file takes a list of hidden sizes. Normalization and dropout are off until the last
# part of this notebook.
#
# ### First loss and gradients
#
# Is the first loss what it should be? And are the gradients right, without and with regularization? Every entry should be
# below about $10^{-6}$. Without regularization W2 may be near $10^{-5}$: some units sit so close to zero that a
# step of the numerical gradient crosses the kink of ReLU.
#
# With `reg` the loss adds half of `reg` times the squares of every weight matrix. A version of the course leaves out the
# last one; `model.reg_last_layer = False` gives its number.

# %% [markdown] lang="zh"
# ## 任意深度的网络
#
# 同一文件中的 `FullyConnectedNet` 接收隐藏层宽度的列表。归一化和 dropout 在最后一部分之前都不使用。
#
# ### 初始损失与梯度
#
# 初始损失是否合理？有无正则化时梯度是否正确？各项误差应低于约 $10^{-6}$。没有正则化时 W2 可能接近 $10^{-5}$：有些单元离零太近，
# 数值梯度的一步跨过了 ReLU 的折点。
#
# `reg` 在损失上加上各权重矩阵平方和的 `reg` 的一半倍。有一版课程漏掉了最后一个矩阵；`model.reg_last_layer = False` 给出它的数。

# %%
np.random.seed(231)
samples, features, classes = 2, 15, 10
X, y = np.random.randn(samples, features), np.random.randint(classes, size=samples)

# reg -> {is the last layer regularized: the known loss}
known_losses = {
    0: {True: 2.3004790897684924},
    3.14: {False: 5.940411485412347, True: 7.052114776533016},
}
for reg, losses in known_losses.items():
    print(f"reg {reg}")
    model = FullyConnectedNet(
        [20, 30], input_dim=features, num_classes=classes, reg=reg, weight_scale=5e-2, dtype=np.float64
    )
    if not hasattr(model, "reg_last_layer"):  # a network of one's own has the definition alone
        losses = {True: losses[True]}
    for model.reg_last_layer, known in losses.items():
        loss, _ = model.loss(X, y)
        print(f"first loss {float(loss)}, last layer regularized: {model.reg_last_layer}")
        report("loss", abs(loss - known) / known, 1e-12)
    check_network(model, X, y, bound=1e-6, W2=5e-5 if reg == 0 else 1e-6)

# %% [markdown] lang="en"
# **Is the first loss reasonable?**

# %% [markdown] lang="zh"
# **初始损失合理吗？**

# %% [markdown] lang="en" tags=["answer"]
# **Answer.** Yes. Small weights give scores near zero, so each of the ten classes gets a probability
# near 1/10, and the softmax loss is near $\ln 10 = 2.303$. With `reg` the penalty on the squares of the weights comes on
# top, 4.75 for `reg` 3.14 and these weights.

# %% [markdown] lang="zh" tags=["answer"]
# **答。** 合理。权重小，得分就接近零，十个类别的概率都接近 1/10，softmax 损失接近 $\ln 10 = 2.303$。有 `reg` 时再加上
# 权重平方的惩罚：`reg` 为 3.14 时，对这些权重是 4.75。

# %% [markdown] lang="en"
# ### Fifty images, three layers
#
# A network that can learn should be able to learn fifty images by heart. Two hidden layers of 100 units reach an accuracy
# of 100% on them within 20 epochs, once the learning rate and the scale of the first weights fit. The validation accuracy
# stays low: there is nothing to generalize from.

# %% [markdown] lang="zh"
# ### 五十张图像，三层
#
# 能学习的网络应当能把五十张图像背下来。只要学习率和初始权重的尺度合适，两个各 100 个单元的隐藏层在 20 个 epoch 内就能在这些图像上
# 达到 100% 的准确率。验证准确率仍然很低：没有什么可供泛化。

# %%
fifty = first_images(50)


def learn_by_heart(hidden_dims, weight_scale, learning_rate):
    """Train on fifty images with plain SGD; plot the loss; insist on 100%."""
    np.random.seed(231)
    model = FullyConnectedNet(hidden_dims, input_dim=INPUT_DIM, weight_scale=weight_scale, dtype=np.float64)
    solver = Solver(
        model,
        fifty,
        update_rule="sgd",
        optim_config={"learning_rate": learning_rate},
        num_epochs=20,
        batch_size=25,
        print_every=10,
    )
    solver.train()

    plt.plot(solver.loss_history, "o")
    plt.title("Training loss on fifty images")
    plt.xlabel("iteration")
    plt.ylabel("loss")
    plt.show()
    assert max(solver.train_acc_history) == 1.0, "the network did not learn the fifty images"


learn_by_heart(
    [100, 100],
    weight_scale=choose(cifar=1e-2, digits=1e-1),
    learning_rate=choose(cifar=1e-2, digits=2e-2),
)

# %% [markdown] lang="en"
# ### Fifty images, five layers
#
# The same with four hidden layers. A deeper network is more sensitive to the scale of its first weights: too small and the
# signal fades on its way through the layers, too large and the first loss is huge.

# %% [markdown] lang="zh"
# ### 五十张图像，五层
#
# 同样的任务，用四个隐藏层。更深的网络对初始权重的尺度更敏感：太小，信号在穿过各层时逐渐消失；太大，初始损失就非常大。

# %%
learn_by_heart(
    [100, 100, 100, 100],
    weight_scale=choose(cifar=1e-1, digits=2e-1),
    learning_rate=choose(cifar=2e-3, digits=1e-2),
)

# %% [markdown] lang="en"
# **Was one of the two harder?**

# %% [markdown] lang="zh"
# **两者哪个更难？**

# %% [markdown] lang="en" tags=["answer"]
# **Answer.** The deeper one. On the digits three layers learn the fifty images from a scale of 0.06 on,
# five layers from 0.1 on, and at 0.03 three layers reach 98% where five stay at 22%. Each layer multiplies the signal by
# about the same factor: scale times the root of half the width. Four such factors go further from 1 than two, so less
# of the range of scales is left. [The page of answers](../answers.md) has the experiment.

# %% [markdown] lang="zh" tags=["answer"]
# **答。** 更深的那个。在数字图像上，三层网络从尺度 0.06 起就能学会这五十张图像，五层网络要到 0.1；尺度为 0.03 时，三层
# 达到 98%，五层停在 22%。每一层都把信号乘以大致相同的倍数：尺度乘以宽度一半的平方根。四个这样的倍数比两个离 1 更远，所以可用的
# 尺度范围更窄。[答案页](../../answers.md)有这个实验。

# %% [markdown] lang="en"
# ## Update rules
#
# So far each step was plain SGD: along the negative gradient, times the learning rate. Rules that keep some memory of earlier
# gradients often train deep networks faster. They have one signature in `daseCV/optim.py`:
# `next_w, config = rule(w, dw, config)`, where `config` holds the rates and the memory.
#
# ### SGD with momentum
#
# A velocity collects the gradients and the weights follow it. See the part on
# [parameter updates](https://cs231n.github.io/neural-networks-3/#sgd) of the CS231n notes.

# %% [markdown] lang="zh"
# ## 更新规则
#
# 到目前为止，每一步都是普通的 SGD：沿负梯度走学习率倍的一步。对以前的梯度保有记忆的规则往往能更快地训练深层网络。它们在
# `daseCV/optim.py` 中签名相同：`next_w, config = rule(w, dw, config)`，其中 `config` 存放学习率和记忆。
#
# ### 带动量的 SGD
#
# 速度累积梯度，权重跟着速度走。参见 CS231n 笔记中关于[参数更新](https://cs231n.github.io/neural-networks-3/#sgd)的部分。

# %% [markdown] lang="en" tags=["answer"]
# $v \leftarrow \mu v - \alpha\, dw$, then $w \leftarrow w + v$.

# %% [markdown] lang="zh" tags=["answer"]
# $v \leftarrow \mu v - \alpha\, dw$，然后 $w \leftarrow w + v$。

# %%
def weights_and_gradient():
    return ramp(-0.4, 0.6, 4, 5), ramp(-0.6, 0.4, 4, 5)


config = {"learning_rate": 1e-3, "velocity": ramp(0.6, 0.9, 4, 5)}
next_w, config = sgd_momentum(*weights_and_gradient(), config)

known_w = np.array([
    [0.1406, 0.20738947, 0.27417895, 0.34096842, 0.40775789],
    [0.47454737, 0.54133684, 0.60812632, 0.67491579, 0.74170526],
    [0.80849474, 0.87528421, 0.94207368, 1.00886316, 1.07565263],
    [1.14244211, 1.20923158, 1.27602105, 1.34281053, 1.4096],
])
known_velocity = np.array([
    [0.5406, 0.55475789, 0.56891579, 0.58307368, 0.59723158],
    [0.61138947, 0.62554737, 0.63970526, 0.65386316, 0.66802105],
    [0.68217895, 0.69633684, 0.71049474, 0.72465263, 0.73881053],
    [0.75296842, 0.76712632, 0.78128421, 0.79544211, 0.8096],
])
report("next_w error", relative_error(next_w, known_w), 1e-8)
report("velocity error", relative_error(config["velocity"], known_velocity), 1e-8)

# %% [markdown] lang="en"
# Both rules now train a network of six layers on the same 4,000 images (or on all the digits), from the same weights.
# Momentum should be well ahead.

# %% [markdown] lang="zh"
# 现在两种规则从同样的权重出发，用同样的 4,000 张图像（或全部数字图像）训练一个六层网络。动量应当明显领先。

# %%
several = first_images(4000)
runs = {}


def train_with(rule, learning_rate):
    """Train six layers with an update rule; keep the Solver in `runs`."""
    np.random.seed(231)
    model = FullyConnectedNet([100] * 5, input_dim=INPUT_DIM, weight_scale=choose(cifar=5e-2, digits=1e-1))
    runs[rule] = Solver(
        model,
        several,
        update_rule=rule,
        optim_config={"learning_rate": learning_rate},
        num_epochs=choose(cifar=5, digits=10),
        batch_size=100,
        print_every=50,
    )
    print(f"--- {rule}")
    runs[rule].train()


def final_loss(rule):
    """The mean loss of the last 20 steps; one batch alone is noisy."""
    return float(np.mean(runs[rule].loss_history[-20:]))


def plot_runs():
    figure, panels = plt.subplots(3, 1, figsize=(8, 11), layout="constrained")
    for rule, run in runs.items():
        panels[0].plot(run.loss_history, ".", markersize=4, label=rule)
        panels[1].plot(run.train_acc_history, "o-", label=rule)
        panels[2].plot(run.val_acc_history, "o-", label=rule)
    titles = ["Training loss", "Training accuracy", "Validation accuracy"]
    for panel, title, unit in zip(panels, titles, ["iteration", "epoch", "epoch"], strict=True):
        panel.set(title=title, xlabel=unit)
        panel.legend(loc="best", ncol=4)
    plt.show()


for rule in ("sgd", "sgd_momentum"):
    train_with(rule, learning_rate=5e-3)
plot_runs()
assert final_loss("sgd_momentum") < final_loss("sgd")

# %% [markdown] lang="en"
# ### RMSProp and Adam
#
# Both give each weight a rate of its own, from a running mean of the squared gradients. RMSProp [1] divides the gradient by
# the root of that mean. Adam [2] puts a running mean of the gradient itself in the numerator, and corrects both means for
# having started at zero.
#
# [1] T. Tieleman and G. Hinton, "Lecture 6.5 - rmsprop", COURSERA: Neural Networks for Machine Learning, 2012.
# [2] D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.

# %% [markdown] lang="zh"
# ### RMSProp 与 Adam
#
# 两者都根据梯度平方的滑动平均，给每个权重各自的步长。RMSProp [1] 用这个平均的平方根去除梯度。Adam [2] 的分子是梯度本身的滑动平均，
# 并且修正了两个平均都从零开始所带来的偏差。
#
# [1] T. Tieleman and G. Hinton, "Lecture 6.5 - rmsprop", COURSERA: Neural Networks for Machine Learning, 2012.
# [2] D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.

# %%
config = {"learning_rate": 1e-2, "cache": ramp(0.6, 0.9, 4, 5)}
next_w, config = rmsprop(*weights_and_gradient(), config)

known_w = np.array([
    [-0.39223849, -0.34037513, -0.28849239, -0.23659121, -0.18467247],
    [-0.132737, -0.08078555, -0.02881884, 0.02316247, 0.07515774],
    [0.12716641, 0.17918792, 0.23122175, 0.28326742, 0.33532447],
    [0.38739248, 0.43947102, 0.49155973, 0.54365823, 0.59576619],
])
known_cache = np.array([
    [0.5976, 0.6126277, 0.6277108, 0.64284931, 0.65804321],
    [0.67329252, 0.68859723, 0.70395734, 0.71937285, 0.73484377],
    [0.75037008, 0.7659518, 0.78158892, 0.79728144, 0.81302936],
    [0.82883269, 0.84469141, 0.86060554, 0.87657507, 0.8926],
])
report("next_w error", relative_error(next_w, known_w), 1e-6)
report("cache error", relative_error(config["cache"], known_cache), 1e-8)

# %%
config = {"learning_rate": 1e-2, "m": ramp(0.6, 0.9, 4, 5), "v": ramp(0.7, 0.5, 4, 5), "t": 5}
next_w, config = adam(*weights_and_gradient(), config)

known_w = np.array([
    [-0.40094747, -0.34836187, -0.29577703, -0.24319299, -0.19060977],
    [-0.1380274, -0.08544591, -0.03286534, 0.01971428, 0.0722929],
    [0.1248705, 0.17744702, 0.23002243, 0.28259667, 0.33516969],
    [0.38774145, 0.44031188, 0.49288093, 0.54544852, 0.59801459],
])
known_state = {
    "v": np.array([
        [0.69966, 0.68908382, 0.67851319, 0.66794809, 0.65738853],
        [0.64683452, 0.63628604, 0.6257431, 0.61520571, 0.60467385],
        [0.59414753, 0.58362676, 0.57311152, 0.56260183, 0.55209767],
        [0.54159906, 0.53110598, 0.52061845, 0.51013645, 0.49966],
    ]),
    "m": np.array([
        [0.48, 0.49947368, 0.51894737, 0.53842105, 0.55789474],
        [0.57736842, 0.59684211, 0.61631579, 0.63578947, 0.65526316],
        [0.67473684, 0.69421053, 0.71368421, 0.73315789, 0.75263158],
        [0.77210526, 0.79157895, 0.81105263, 0.83052632, 0.85],
    ]),
}
report("next_w error", relative_error(next_w, known_w), 1e-6)
for key, known in known_state.items():
    report(f"{key} error", relative_error(config[key], known), 1e-8)

# %% [markdown] lang="en"
# The same network again, with these two rules. The plot shows all four.

# %% [markdown] lang="zh"
# 同一个网络，换成这两种规则。图中是全部四种。

# %%
for rule, learning_rate in {"adam": 1e-3, "rmsprop": 1e-4}.items():
    train_with(rule, learning_rate)
plot_runs()
for rule in runs:
    print(f"{rule:>14}: final loss {final_loss(rule):.4f}")
assert final_loss("adam") < final_loss("sgd") and final_loss("rmsprop") < final_loss("sgd")

# %% [markdown] lang="en"
# ### Inline question: AdaGrad
#
# AdaGrad, like Adam, has a rate for each weight:
#
# ```python
# cache += dw ** 2
# w -= learning_rate * dw / (np.sqrt(cache) + eps)
# ```
#
# Trained with it, a network's updates become very small and learning slows down. Why? Does Adam have the same problem?

# %% [markdown] lang="zh"
# ### 思考题：AdaGrad
#
# AdaGrad 和 Adam 一样，给每个权重各自的步长：
#
# ```python
# cache += dw ** 2
# w -= learning_rate * dw / (np.sqrt(cache) + eps)
# ```
#
# 用它训练时，网络的更新会变得很小，学习变慢。为什么？Adam 有同样的问题吗？

# %% [markdown] lang="en" tags=["answer"]
# **Answer.** Squares are never negative, so `cache` is a sum that only grows. The divisor grows with it, like the square root
# of the number of steps for gradients of a steady size, and it never shrinks again: a few large gradients at the start hold
# a weight back for good. The step goes to zero even where the gradient does not.
#
# Adam does not have this problem. It keeps a running *mean* of the squares, in which old gradients fade: after $k$ steps
# their part is multiplied by $\beta_2^k$. The divisor follows the recent size of the gradient and falls when the
# gradients fall, so the step stays of the order of the learning rate.
#
# [The page of answers](../answers.md) has an experiment and a plot.

# %% [markdown] lang="zh" tags=["answer"]
# **答。** 平方不会是负的，所以 `cache` 是只增不减的和。除数随之增大：梯度大小稳定时，它像步数的平方根那样增长，而且再也不会变小；
# 开头几个大梯度会永远拖住一个权重。即使梯度不趋于零，步长也趋于零。
#
# Adam 没有这个问题。它保存的是平方的滑动*平均*，旧的梯度会淡出：$k$ 步之后，它们的份额乘以 $\beta_2^k$。除数跟随梯度最近的大小，
# 梯度变小时它也变小，所以步长保持在学习率的量级。
#
# [答案页](../../answers.md)用实验和图说明了这一点。

# %% [markdown] lang="en"
# ## A good model
#
# Now the best fully-connected network for these images, in `best_model`. On CIFAR-10 the validation accuracy should be at
# least 50%; 55% is possible with care.

# %% [markdown] lang="zh"
# ## 一个好模型
#
# 现在为这些图像找最好的全连接网络，放在 `best_model` 中。在 CIFAR-10 上验证准确率应至少为 50%，仔细调整可以达到 55%。

# %% [markdown] lang="en" tags=["answer"]
# This one uses batch normalization and dropout (`dropout` is the probability of *keeping* a unit). Adam does most of the
# work. Then momentum with a small rate polishes the result: the second Solver goes on with the same model.
#
# More epochs are a little better and take longer.

# %% [markdown] lang="zh" tags=["answer"]
# 这里使用批归一化和 dropout（`dropout` 是*保留*一个单元的概率）。大部分工作由 Adam 完成，然后用小学习率的动量打磨结果：第二个
# Solver 接着训练同一个模型。
#
# 更多的 epoch 会好一些，也更费时间。

# %% tags=["starter"]
best_model = None  # a FullyConnectedNet that a Solver has trained

if best_model is None:
    raise NotImplementedError("best_model is not trained yet")

# %% tags=["answer"]
EPOCHS = choose(cifar=10, digits=20)

np.random.seed(231)
best_model = FullyConnectedNet(
    choose(cifar=[512, 256], digits=[128, 64]),
    input_dim=INPUT_DIM,
    weight_scale=2e-2,
    normalization="batchnorm",
    dropout=choose(cifar=0.7, digits=0.8),
)
stages = [("adam", 1e-3, EPOCHS), ("sgd_momentum", choose(cifar=1e-4, digits=1e-5), max(1, EPOCHS // 5))]
for rule, learning_rate, epochs in stages:
    print(f"--- {rule}, {epochs} epochs")
    solver = Solver(
        best_model,
        data,
        update_rule=rule,
        optim_config={"learning_rate": learning_rate},
        lr_decay=0.9,
        num_epochs=epochs,
        batch_size=choose(cifar=200, digits=50),
        print_every=10_000,
    )
    solver.train()

# %% [markdown] lang="en"
# ## Test it
#
# The accuracy of the best model on the validation images, which chose its parameters, and on the test images, which nothing
# has seen.

# %% [markdown] lang="zh"
# ## 测试
#
# 最好的模型在验证图像（它的参数由此选出）和测试图像（从未使用过）上的准确率。

# %%
def accuracy(model, split):
    predicted = model.loss(data["X_" + split]).argmax(axis=1)
    return float((predicted == data["y_" + split]).mean())


val_accuracy, test_accuracy = accuracy(best_model, "val"), accuracy(best_model, "test")
print(f"validation {val_accuracy:.3f}, test {test_accuracy:.3f}")
assert val_accuracy >= choose(cifar=0.5, digits=0.9)

# %% [markdown] lang="en"
# ## Leaderboard
#
# The leaderboard's images are in `input/test_norm.npy` of the course's folder. Where that file is missing, the test images
# stand in for it.

# %% [markdown] lang="zh"
# ## 排行榜
#
# 排行榜的图像是课程文件夹中的 `input/test_norm.npy`。没有这个文件时，用测试图像代替。

# %%
import tempfile
import zipfile
from contextlib import chdir
from pathlib import Path

from daseCV.submission import output_file, zip_fun

leaderboard_images = Path("input/test_norm.npy")
X = np.load(leaderboard_images) if ON_CIFAR and leaderboard_images.exists() else data["X_test"]
leaderboard_model = best_model
preds = leaderboard_model.loss(X).argmax(axis=1)
print(f"{len(preds)} predictions, the first ten: {preds[:10].tolist()}")

# %% [markdown] lang="en"
# `output_file` writes the predictions under `output/` in the current folder, and `zip_fun` packs them for the upload. Here
# the current folder is a temporary one. Call the two without it to keep the files, then hand in
# `output/prediction_phase_1.zip` (phase 1).

# %% [markdown] lang="zh"
# `output_file` 把预测写到当前文件夹的 `output/` 下，`zip_fun` 把它们打包以供上传。这里的当前文件夹是临时的。去掉它再调用这两个函数
# 就能保留文件，然后提交 `output/prediction_phase_1.zip`（第 1 阶段）。

# %%
with tempfile.TemporaryDirectory() as folder, chdir(folder):
    output_file(preds)
    zip_fun()
    written = sorted(path.as_posix() for path in Path("output").rglob("*") if path.is_file())
    with zipfile.ZipFile("output/prediction_phase_1.zip") as archive, archive.open("prediction.npy") as packed:
        assert np.array_equal(np.load(packed), preds)
print(*written, sep="\n")
