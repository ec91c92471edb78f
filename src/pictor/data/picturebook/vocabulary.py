"""What the picturebook can show, and how English and Chinese speak of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thing:
    """One drawable object: its emoji and its names."""

    emoji: str
    names: tuple[str, ...]
    """English names, the natural one first."""
    zh: str
    measure: str = "个"
    """The Chinese measure word that counts it."""

    @property
    def name(self) -> str:
        return self.names[0]


@dataclass(frozen=True, slots=True)
class Colour:
    """One named colour and the sRGB value, 0 to 255, of a surface that people call so."""

    name: str
    zh: str
    rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """One kind of background and the phrases that name it."""

    name: str
    phrases: tuple[str, ...]
    zh_phrases: tuple[str, ...]


def _things(table: str) -> tuple[Thing, ...]:
    things = []
    for line in table.strip().splitlines():
        emoji, names, zh, measure = (field.strip() for field in line.split("|"))
        things.append(Thing(emoji, tuple(name.strip() for name in names.split(",")), zh, measure))
    return tuple(things)


THINGS: tuple[Thing, ...] = _things("""
🍎 | apple | 苹果 | 个
🍌 | banana | 香蕉 | 根
🍐 | pear | 梨 | 个
🍊 | tangerine, orange fruit | 橘子 | 个
🍋 | lemon | 柠檬 | 个
🍉 | watermelon, slice of watermelon | 西瓜 | 块
🍇 | grapes, bunch of grapes | 葡萄 | 串
🍓 | strawberry | 草莓 | 颗
🍒 | cherries | 樱桃 | 串
🍍 | pineapple | 菠萝 | 个
🥕 | carrot | 胡萝卜 | 根
🌽 | corn, ear of corn | 玉米 | 根
🍄 | mushroom | 蘑菇 | 朵
🍞 | bread, loaf of bread | 面包 | 块
🧀 | cheese, piece of cheese | 奶酪 | 块
🍕 | pizza, slice of pizza | 披萨 | 块
🍔 | hamburger, burger | 汉堡 | 个
🍩 | donut, doughnut | 甜甜圈 | 个
🎂 | cake, birthday cake | 蛋糕 | 个
🍦 | ice cream, ice cream cone | 冰淇淋 | 个
🥚 | egg | 鸡蛋 | 个
🌹 | rose | 玫瑰 | 朵
🌷 | tulip | 郁金香 | 朵
🌻 | sunflower | 向日葵 | 朵
🌵 | cactus | 仙人掌 | 棵
🌳 | tree | 树 | 棵
🌴 | palm tree, palm | 棕榈树 | 棵
🍁 | maple leaf, leaf | 枫叶 | 片
🐈 | cat | 猫 | 只
🐕 | dog | 狗 | 只
🐎 | horse | 马 | 匹
🐄 | cow | 奶牛 | 头
🐖 | pig | 猪 | 头
🐑 | sheep | 绵羊 | 只
🐘 | elephant | 大象 | 头
🐇 | rabbit, bunny | 兔子 | 只
🐢 | turtle, tortoise | 乌龟 | 只
🐍 | snake | 蛇 | 条
🐟 | fish | 鱼 | 条
🐬 | dolphin | 海豚 | 只
🐳 | whale | 鲸鱼 | 头
🐙 | octopus | 章鱼 | 只
🦋 | butterfly | 蝴蝶 | 只
🐝 | bee | 蜜蜂 | 只
🐞 | ladybug, ladybird | 瓢虫 | 只
🐓 | rooster, chicken | 公鸡 | 只
🐧 | penguin | 企鹅 | 只
🦉 | owl | 猫头鹰 | 只
🐸 | frog | 青蛙 | 只
🚗 | car | 汽车 | 辆
🚌 | bus | 公交车 | 辆
🚚 | truck, lorry | 卡车 | 辆
🚜 | tractor | 拖拉机 | 辆
🚲 | bicycle, bike | 自行车 | 辆
🚂 | train, locomotive | 火车 | 列
⛵ | sailboat, boat | 帆船 | 艘
🚀 | rocket | 火箭 | 枚
🚁 | helicopter | 直升机 | 架
🎈 | balloon | 气球 | 个
🏠 | house | 房子 | 座
🏰 | castle | 城堡 | 座
⛺ | tent | 帐篷 | 顶
🪑 | chair | 椅子 | 把
🛏️ | bed | 床 | 张
🚪 | door | 门 | 扇
🔑 | key | 钥匙 | 把
☂️ | umbrella | 雨伞 | 把
👕 | shirt, t-shirt | 衬衫 | 件
👗 | dress | 裙子 | 条
👟 | shoe, sneaker | 鞋子 | 只
🎩 | hat, top hat | 帽子 | 顶
🎒 | backpack | 背包 | 个
🎁 | gift, present | 礼物 | 份
🎸 | guitar | 吉他 | 把
🥁 | drum | 鼓 | 面
⏰ | alarm clock, clock | 闹钟 | 个
📕 | book | 书 | 本
☕ | cup, cup of coffee | 杯子 | 个
⚽ | ball, soccer ball | 足球 | 个
⭐ | star | 星星 | 颗
❤️ | heart | 爱心 | 颗
👻 | ghost | 幽灵 | 个
🤖 | robot | 机器人 | 个
🧸 | teddy bear | 泰迪熊 | 只
""")

COLOURS: tuple[Colour, ...] = (
    Colour("red", "红色", (222, 32, 38)),
    Colour("orange", "橙色", (250, 140, 16)),
    Colour("yellow", "黄色", (252, 216, 32)),
    Colour("green", "绿色", (52, 168, 60)),
    Colour("blue", "蓝色", (36, 96, 224)),
    Colour("purple", "紫色", (136, 52, 190)),
    Colour("pink", "粉色", (250, 130, 186)),
    Colour("black", "黑色", (44, 44, 50)),
    Colour("white", "白色", (244, 244, 246)),
)

PLACES: tuple[Place, ...] = (
    Place("white", ("on a white background", "on white"), ("白色背景上的", "白底的")),
    Place("sky", ("in the sky", "under a blue sky"), ("天空中的", "蓝天下的")),
    Place("night", ("at night", "under the stars"), ("夜晚的", "星空下的")),
    Place("grass", ("on grass", "on the grass", "in a meadow"), ("草地上的", "草坪上的")),
    Place("sand", ("in the desert", "on sand"), ("沙漠里的", "沙地上的")),
    Place("sea", ("at sea", "in the sea", "on the water"), ("大海里的", "海上的")),
    Place("snow", ("in the snow", "on snow"), ("雪地里的", "雪中的")),
)

THING_BY_NAME = {thing.name: thing for thing in THINGS}
COLOUR_BY_NAME = {colour.name: colour for colour in COLOURS}
PLACE_BY_NAME = {place.name: place for place in PLACES}
