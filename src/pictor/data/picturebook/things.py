"""The objects of the picturebook: emoji | English names | Chinese names | measure word | what takes colour.

The natural name stands first. The last field is empty for the main surface, or `all` for the whole drawing,
`grey` for its grey or white part, `never` where it is drawn only as the font has it.
"""

TABLE = """
# food
🍎 | apple | 苹果 | 个
🍌 | banana | 香蕉 | 根
🍐 | pear | 梨,梨子 | 个
🍊 | tangerine, mandarin | 橘子 | 个
🍋 | lemon | 柠檬 | 个
🍉 | watermelon, slice of watermelon | 西瓜 | 块
🍇 | grapes, bunch of grapes | 葡萄 | 串
🍓 | strawberry | 草莓 | 颗
🍒 | cherries | 樱桃 | 串
🍑 | peach | 桃子,水蜜桃 | 个
🥭 | mango | 芒果 | 个
🍍 | pineapple | 菠萝 | 个
🥥 | coconut | 椰子 | 个
🥝 | kiwi, kiwi fruit | 猕猴桃,奇异果 | 个
🍅 | tomato | 西红柿,番茄 | 个
🍆 | eggplant, aubergine | 茄子 | 个
🥑 | avocado | 牛油果,鳄梨 | 个
🥦 | broccoli | 西兰花,花椰菜 | 棵
🥕 | carrot | 胡萝卜 | 根
🌽 | corn, ear of corn | 玉米 | 根
🌶️ | chili pepper, hot pepper | 辣椒 | 根
🥒 | cucumber | 黄瓜 | 根
🥬 | cabbage | 白菜,卷心菜 | 棵
🧄 | garlic | 大蒜 | 头 | grey
🧅 | onion | 洋葱 | 个
🥔 | potato | 土豆,马铃薯 | 个
🍠 | sweet potato | 红薯,地瓜 | 个
🥜 | peanuts | 花生 | 颗
🌰 | chestnut | 栗子 | 颗
🍄 | mushroom | 蘑菇 | 朵
🍞 | bread, loaf of bread | 面包 | 块
🥐 | croissant | 羊角面包,可颂 | 个
🥨 | pretzel | 椒盐卷饼 | 个
🥞 | pancakes | 煎饼,松饼 | 份
🧇 | waffle | 华夫饼 | 块
🧀 | cheese, piece of cheese | 奶酪,芝士 | 块
🍗 | chicken leg, drumstick | 鸡腿 | 只
🍔 | hamburger, burger | 汉堡,汉堡包 | 个
🍟 | french fries, fries | 薯条 | 份
🍕 | pizza, slice of pizza | 披萨,比萨饼 | 块
🌭 | hot dog | 热狗 | 个
🥪 | sandwich | 三明治 | 个
🥚 | egg | 鸡蛋 | 个
🍳 | fried egg, frying pan | 煎蛋 | 个 | never
🥗 | salad, green salad | 沙拉 | 份 | never
🍿 | popcorn | 爆米花 | 桶
🍜 | noodles, bowl of noodles | 面条,拉面 | 碗
🍝 | spaghetti, pasta | 意大利面 | 盘
🍣 | sushi | 寿司 | 个
🍦 | ice cream, ice cream cone | 冰淇淋 | 个
🍩 | donut, doughnut | 甜甜圈 | 个
🍪 | cookie, biscuit | 饼干,曲奇 | 块
🎂 | birthday cake | 生日蛋糕 | 个
🍰 | slice of cake, cake | 蛋糕 | 块
🧁 | cupcake | 纸杯蛋糕 | 个
🥧 | pie | 馅饼 | 个 | all
🍫 | chocolate bar, chocolate | 巧克力 | 块
🍬 | candy, piece of candy | 糖果 | 颗
🍭 | lollipop | 棒棒糖 | 根 | never
🍯 | honey pot, honey | 蜂蜜 | 罐
🥛 | glass of milk, milk | 牛奶 | 杯 | all
☕ | cup of coffee, coffee | 咖啡 | 杯 | grey
🍵 | cup of tea, tea | 茶 | 杯
🍷 | glass of wine, wine | 葡萄酒 | 杯
🍺 | mug of beer, beer | 啤酒 | 杯
🍼 | baby bottle | 奶瓶 | 个 | grey
# plants
🌹 | rose | 玫瑰,玫瑰花 | 朵
🌷 | tulip | 郁金香 | 朵
🌻 | sunflower | 向日葵 | 朵
🌼 | daisy | 雏菊 | 朵
🌸 | cherry blossom | 樱花 | 朵
💐 | bouquet, bunch of flowers | 花束 | 束 | all
🌵 | cactus | 仙人掌 | 棵
🌳 | tree | 树,大树 | 棵
🌲 | pine tree, fir tree | 松树 | 棵
🌴 | palm tree | 棕榈树 | 棵
🎄 | christmas tree | 圣诞树 | 棵
🌱 | seedling, sprout | 幼苗 | 棵
🍀 | clover, four leaf clover | 四叶草 | 片
🍁 | maple leaf | 枫叶 | 片
🍂 | fallen leaves, autumn leaves | 落叶 | 片
# animals
🐈 | cat | 猫,小猫 | 只
🐕 | dog | 狗,小狗 | 只
🐺 | wolf | 狼 | 只 | grey
🦊 | fox | 狐狸 | 只
🦁 | lion | 狮子 | 头
🐅 | tiger | 老虎 | 只
🐎 | horse | 马 | 匹
🦄 | unicorn | 独角兽 | 只 | grey
🦓 | zebra | 斑马 | 匹 | never
🦌 | deer | 鹿 | 只
🐄 | cow | 奶牛 | 头 | grey
🐖 | pig | 猪 | 头
🐑 | sheep | 绵羊,羊 | 只 | grey
🐐 | goat | 山羊 | 只
🐪 | camel | 骆驼 | 头
🦒 | giraffe | 长颈鹿 | 只
🐘 | elephant | 大象 | 头
🦏 | rhino, rhinoceros | 犀牛 | 头
🦛 | hippo, hippopotamus | 河马 | 头
🐁 | mouse | 老鼠 | 只 | grey
🐇 | rabbit, bunny | 兔子 | 只
🐿️ | squirrel, chipmunk | 松鼠 | 只
🦔 | hedgehog | 刺猬 | 只
🦇 | bat | 蝙蝠 | 只 | all
🐻 | bear | 熊 | 只
🐨 | koala | 考拉 | 只 | grey
🐼 | panda | 熊猫 | 只 | never
🦘 | kangaroo | 袋鼠 | 只
🐒 | monkey | 猴子 | 只
🐓 | rooster | 公鸡 | 只
🐔 | hen, chicken | 母鸡 | 只 | grey
🐥 | chick, baby chick | 小鸡 | 只
🐧 | penguin | 企鹅 | 只
🦅 | eagle | 老鹰 | 只 | all
🦆 | duck | 鸭子 | 只
🦢 | swan | 天鹅 | 只 | grey
🦉 | owl | 猫头鹰 | 只
🦩 | flamingo | 火烈鸟 | 只
🦚 | peacock | 孔雀 | 只 | all
🦜 | parrot | 鹦鹉 | 只
🐸 | frog | 青蛙 | 只
🐊 | crocodile | 鳄鱼 | 条
🐢 | turtle, tortoise | 乌龟 | 只
🐍 | snake | 蛇 | 条
🐉 | dragon | 龙 | 条
🦕 | dinosaur | 恐龙 | 只
🐳 | whale | 鲸鱼 | 头
🐬 | dolphin | 海豚 | 只
🐟 | fish | 鱼 | 条
🐠 | tropical fish | 热带鱼 | 条
🦈 | shark | 鲨鱼 | 条
🐙 | octopus | 章鱼 | 只
🐚 | seashell, shell | 贝壳 | 个
🦀 | crab | 螃蟹 | 只
🦞 | lobster | 龙虾 | 只
🦐 | shrimp | 虾 | 只
🐌 | snail | 蜗牛 | 只
🦋 | butterfly | 蝴蝶 | 只
🐛 | caterpillar | 毛毛虫 | 条
🐜 | ant | 蚂蚁 | 只 | all
🐝 | bee | 蜜蜂 | 只
🐞 | ladybug, ladybird | 瓢虫 | 只
🕷️ | spider | 蜘蛛 | 只 | all
🦂 | scorpion | 蝎子 | 只
# vehicles
🚗 | car | 汽车,小汽车 | 辆
🚕 | taxi | 出租车 | 辆
🚌 | bus | 公交车,巴士 | 辆
🚓 | police car | 警车 | 辆
🚑 | ambulance | 救护车 | 辆 | grey
🚒 | fire engine, fire truck | 消防车 | 辆
🚚 | truck, lorry | 卡车,货车 | 辆
🚜 | tractor | 拖拉机 | 辆
🏎️ | racing car, race car | 赛车 | 辆
🏍️ | motorcycle, motorbike | 摩托车 | 辆
🚲 | bicycle, bike | 自行车 | 辆 | all
🛹 | skateboard | 滑板 | 块
🚂 | train, locomotive | 火车 | 列
✈️ | airplane, plane | 飞机 | 架 | all
🚁 | helicopter | 直升机 | 架
🚀 | rocket | 火箭 | 枚 | all
🛸 | flying saucer, ufo | 飞碟 | 个
⛵ | sailboat | 帆船 | 艘
🚤 | speedboat, motorboat | 快艇 | 艘
🚢 | ship | 轮船 | 艘
🛶 | canoe | 独木舟 | 艘
⚓ | anchor | 锚 | 个
🚦 | traffic light | 红绿灯,交通灯 | 个 | never
# buildings
🏠 | house | 房子,房屋 | 座
🏥 | hospital | 医院 | 座 | never
🏰 | castle | 城堡 | 座
🗼 | tower | 铁塔,高塔 | 座
⛺ | tent | 帐篷 | 顶
⛲ | fountain | 喷泉 | 座 | all
🎡 | ferris wheel | 摩天轮 | 座 | never
🎪 | circus tent | 马戏团帐篷 | 顶
🏮 | lantern | 灯笼 | 个
# household
🪑 | chair | 椅子 | 把
🛋️ | sofa, couch | 沙发 | 张
🛏️ | bed | 床 | 张
🚪 | door | 门 | 扇
🛁 | bathtub | 浴缸 | 个 | all
🧸 | teddy bear | 泰迪熊,玩具熊 | 只
🧹 | broom | 扫帚 | 把
🧺 | basket | 篮子 | 个
🧽 | sponge | 海绵 | 块
🕯️ | candle | 蜡烛 | 根 | all
💡 | light bulb, bulb | 灯泡 | 个
🔦 | flashlight, torch | 手电筒 | 个 | all
📺 | television, tv | 电视,电视机 | 台 | all
📷 | camera | 照相机,相机 | 台 | all
📱 | mobile phone, smartphone | 手机 | 部 | all
☎️ | telephone | 电话 | 部
💻 | laptop, computer | 笔记本电脑,电脑 | 台 | all
⌚ | watch, wristwatch | 手表 | 块 | all
⏰ | alarm clock | 闹钟 | 个
⌛ | hourglass | 沙漏 | 个 | all
🔑 | key | 钥匙 | 把
🔒 | lock, padlock | 锁 | 把
🎁 | gift, present | 礼物 | 份
🎈 | balloon | 气球 | 个
📕 | book | 书 | 本
✏️ | pencil | 铅笔 | 支
🖍️ | crayon | 蜡笔 | 支
🖌️ | paintbrush | 画笔 | 支
🎨 | palette, painter's palette | 调色板 | 块 | never
✉️ | envelope, letter | 信封,信 | 封 | grey
📦 | box, cardboard box | 箱子,纸箱 | 个
🗑️ | trash can, wastebasket | 垃圾桶 | 个 | all
🍽️ | plate, dinner plate | 盘子 | 个 | grey
🥄 | spoon | 勺子 | 把 | grey
🔪 | kitchen knife, knife | 菜刀 | 把 | grey
🫖 | teapot | 茶壶 | 个
🪣 | bucket | 水桶 | 个
💰 | money bag | 钱袋 | 个
💎 | diamond, gem | 钻石,宝石 | 颗
🔔 | bell | 铃铛 | 个
🔮 | crystal ball | 水晶球 | 个
# clothes
👕 | shirt, t-shirt | 衬衫 | 件
👖 | trousers, jeans | 裤子,牛仔裤 | 条
🧥 | coat | 大衣,外套 | 件
👗 | dress | 裙子,连衣裙 | 条
👘 | kimono | 和服 | 件
🧦 | socks | 袜子 | 双
🧣 | scarf | 围巾 | 条
👟 | sneaker, shoe | 运动鞋,鞋子 | 只
👠 | high heel | 高跟鞋 | 只
👢 | boot | 靴子 | 只
🎩 | top hat | 礼帽 | 顶 | all
🧢 | cap, baseball cap | 鸭舌帽,棒球帽 | 顶
👑 | crown | 皇冠,王冠 | 顶
👜 | handbag | 手提包 | 个
🎒 | backpack | 背包,书包 | 个
🕶️ | sunglasses | 墨镜,太阳镜 | 副 | all
👓 | glasses | 眼镜 | 副 | all
💍 | ring | 戒指 | 枚 | all
💄 | lipstick | 口红 | 支
☂️ | umbrella | 雨伞,伞 | 把
# tools
🔨 | hammer | 锤子 | 把 | all
🪓 | axe | 斧头 | 把
🪚 | saw | 锯子 | 把
🔧 | wrench | 扳手 | 把 | all
🪛 | screwdriver | 螺丝刀 | 把
⚙️ | gear, cogwheel | 齿轮 | 个 | all
🪜 | ladder | 梯子 | 架
✂️ | scissors | 剪刀 | 把
🧯 | fire extinguisher | 灭火器 | 个
🔭 | telescope | 望远镜 | 架 | all
🔬 | microscope | 显微镜 | 台 | all
🔍 | magnifying glass | 放大镜 | 个 | all
💊 | pill | 药丸 | 颗
💉 | syringe | 注射器 | 支
🔋 | battery | 电池 | 节
🗡️ | sword, dagger | 剑,匕首 | 把 | all
🛡️ | shield | 盾牌 | 面
🏹 | bow and arrow | 弓箭 | 副 | all
# instruments
🎸 | guitar | 吉他 | 把
🎻 | violin | 小提琴 | 把
🎺 | trumpet | 小号 | 把
🎷 | saxophone | 萨克斯 | 把
🥁 | drum | 鼓 | 面
🎹 | piano keys, keyboard | 钢琴键盘 | 台 | never
🎤 | microphone | 麦克风,话筒 | 支 | all
🎧 | headphones | 耳机 | 副 | all
📻 | radio | 收音机 | 台
# sports and play
⚽ | soccer ball, football | 足球 | 个 | grey
🏀 | basketball | 篮球 | 个
🏈 | american football | 橄榄球 | 个
🎾 | tennis ball | 网球 | 个
🎱 | billiard ball, eight ball | 台球 | 个 | all
🏓 | table tennis bat, ping pong paddle | 乒乓球拍 | 只
🏸 | badminton racket | 羽毛球拍 | 只 | all
🥊 | boxing glove | 拳击手套 | 只
⛸️ | ice skate | 溜冰鞋 | 只 | grey
🎯 | dartboard, target | 飞镖靶 | 个
🪁 | kite | 风筝 | 只 | all
🎲 | die, dice | 骰子 | 个 | grey
🧩 | puzzle piece | 拼图 | 块 | all
🪀 | yo-yo | 悠悠球 | 个
🎮 | game controller, gamepad | 游戏手柄 | 个 | all
🏆 | trophy | 奖杯 | 座
🏅 | medal | 奖牌 | 枚
🪂 | parachute | 降落伞 | 顶 | never
# sky and weather
☀️ | sun | 太阳 | 个
🌙 | crescent moon, moon | 月亮,月牙 | 个
⭐ | star | 星星 | 颗
🌈 | rainbow | 彩虹 | 道 | never
☁️ | cloud | 云,云朵 | 朵 | grey
⚡ | lightning bolt, lightning | 闪电 | 道
❄️ | snowflake | 雪花 | 片
☃️ | snowman | 雪人 | 个 | grey
🔥 | fire, flame | 火焰,火 | 团 | all
💧 | drop of water, water drop | 水滴 | 滴
🌊 | wave | 海浪 | 道
🌋 | volcano | 火山 | 座
🪐 | planet, ringed planet | 行星 | 颗
🌍 | globe, planet earth | 地球 | 个 | never
☄️ | comet | 彗星 | 颗 | all
# people and fantasy
🤖 | robot | 机器人 | 个 | all
🧑‍🚀 | astronaut | 宇航员,太空人 | 位 | grey
👻 | ghost | 幽灵,鬼魂 | 个 | grey
👽 | alien | 外星人 | 个 | all
💀 | skull | 骷髅头 | 个 | grey
🎃 | jack-o-lantern, pumpkin | 南瓜灯,南瓜 | 个
🤡 | clown | 小丑 | 个 | never
👸 | princess | 公主 | 位 | never
🤴 | prince | 王子 | 位 | never
🧙 | wizard | 巫师 | 位 | never
🧚 | fairy | 仙女 | 位 | never
🧜‍♀️ | mermaid | 美人鱼 | 条 | never
🧛 | vampire | 吸血鬼 | 个 | never
🦸 | superhero | 超级英雄 | 位 | never
🥷 | ninja | 忍者 | 位 | all
🎅 | santa claus | 圣诞老人 | 位 | never
👶 | baby | 婴儿,宝宝 | 个 | never
👮 | police officer, policeman | 警察 | 位 | never
🧑‍🍳 | cook, chef | 厨师 | 位 | never
🧑‍🌾 | farmer | 农民 | 位 | never
🧑‍🚒 | firefighter | 消防员 | 位 | never
❤️ | heart | 爱心,心 | 颗
"""
"""One object a line; lines that begin with # name the groups."""
