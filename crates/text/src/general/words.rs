//! Words of everyday English by kind.

use crate::prose::Lexicon;

#[rustfmt::skip]
pub(super) const LEXICON: Lexicon = &[
    ("woman", &[
        "Anna", "Clara", "Emma", "Greta", "Helen", "Ida", "Julia", "Lucy", "Maria", "Nora", "Olga", "Rosa", "Sophie",
        "Tilda", "Vera", "Wanda", "Amira", "Beatrice", "Mei", "Zoe",
    ]),
    ("man", &[
        "Adam", "Boris", "Carl", "David", "Edgar", "Felix", "George", "Hugo", "Ivan", "Jacob", "Leo", "Martin",
        "Noah", "Oscar", "Paul", "Robin", "Simon", "Tom", "Victor", "Walter",
    ]),
    ("name", &["{woman}", "{man}"]),
    ("town", &[
        "Ashford", "Brighton", "Castleton", "Dover", "Eastbury", "Fairview", "Greenfield", "Hillcrest", "Kingsbridge",
        "Lakewood", "Millbrook", "Newport", "Oakham", "Riverton", "Stonebridge", "Thornhill", "Westfield", "Woodside",
    ]),
    ("place", &[
        "market", "harbour", "library", "station", "park", "school", "bakery", "bridge", "museum", "church", "farm",
        "forest", "lake", "beach", "theatre", "post office", "garden", "mill", "hotel", "town hall", "kitchen",
        "workshop", "castle", "playground",
    ]),
    ("colour", &[
        "red", "blue", "green", "yellow", "white", "black", "brown", "grey", "purple", "orange", "silver", "golden",
    ]),
    ("object", &[
        "umbrella", "kite", "lamp", "basket", "bicycle", "violin", "clock", "hat", "coat", "box", "book", "map",
        "bottle", "chair", "ring", "key", "drum", "boat", "ladder", "mirror", "pencil", "camera", "blanket",
        "suitcase", "wallet", "teapot", "scarf", "ball",
    ]),
    ("animal", &[
        "dog", "cat", "horse", "goat", "sheep", "cow", "rabbit", "parrot", "duck", "goose", "donkey", "mouse",
        "turtle", "pony", "hen", "fox",
    ]),
    ("day", &["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]),
    ("month", &[
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]),
    ("season", &["spring", "summer", "autumn", "winter"]),
    ("relative", &[
        "mother", "father", "sister", "brother", "grandmother", "grandfather", "aunt", "uncle", "cousin", "daughter",
        "son", "neighbour",
    ]),
    ("dish", &[
        "soup", "stew", "apple pie", "bread", "rice with beans", "fish with potatoes", "omelette", "roast chicken",
        "salad", "chocolate cake", "porridge", "cheese pie", "bean soup", "vegetable stew", "pasta",
    ]),
    ("fruits", &[
        "apples", "pears", "plums", "lemons", "oranges", "cherries", "peaches", "onions", "carrots", "tomatoes",
        "eggs", "cabbages",
    ]),
    ("job", &[
        "teacher", "baker", "carpenter", "farmer", "driver", "painter", "postman", "tailor", "fisherman", "musician",
        "cook", "clerk", "gardener", "sailor",
    ]),
    ("vehicle", &["train", "bus", "ferry", "tram", "old car", "bicycle", "cart", "boat"]),
    ("ailment", &[
        "a cold", "a sore throat", "a headache", "a cough", "a bad tooth", "a twisted ankle", "a stomach ache",
        "a scratched knee", "a fever", "an itchy nose",
    ]),
    ("remedy", &[
        "hot tea with honey", "a day in bed", "a warm scarf", "chicken soup", "a long sleep", "plenty of water",
        "fresh air",
    ]),
    ("sky", &["clear", "grey", "dark", "bright", "pale", "cloudy", "full of stars"]),
    ("weather", &["rain", "snow", "wind", "fog", "hail", "sunshine", "thunder", "frost"]),
    ("adjective", &[
        "small", "large", "old", "new", "quiet", "noisy", "pretty", "strange", "heavy", "light", "warm", "cold",
        "narrow", "wide", "simple", "clean", "dusty", "famous", "lovely", "empty", "crowded", "tall", "soft",
        "broken", "bright", "secret",
    ]),
    ("feeling", &[
        "happy", "tired", "proud", "sad", "curious", "hungry", "calm", "nervous", "surprised", "cheerful", "angry",
        "lonely", "grateful", "bored", "excited", "worried",
    ]),
    ("adverb", &[
        "slowly", "quickly", "quietly", "happily", "carefully", "suddenly", "gently", "loudly", "politely", "eagerly",
        "patiently", "bravely",
    ]),
    ("moment", &[
        "In the morning", "At noon", "In the evening", "After lunch", "Before dinner", "At night", "Soon afterwards",
        "A little later", "An hour later", "At last", "The next day", "At {1-11} o'clock",
    ]),
    ("person", &[
        "an old man", "a young woman", "a tall stranger", "a friendly {trade}", "two children", "a group of tourists",
        "the {trade}", "a small boy", "three old friends",
    ]),
    ("trade", &[
        "teacher", "baker", "farmer", "driver", "painter", "postman", "sailor", "policeman", "shopkeeper", "waiter",
        "gardener", "librarian",
    ]),
    ("thing", &[
        "newspaper", "cup of coffee", "wooden box", "paper bag", "candle", "piece of cake", "song", "photograph",
        "bunch of flowers", "glass of water", "letter", "warm jacket", "wooden spoon", "jar of honey",
        "pair of shoes",
    ]),
    ("things", &[
        "old stamps", "wooden toys", "flowers", "books", "candles", "warm socks", "shells", "coins", "paper boats",
        "baskets", "plates", "chairs", "buttons", "postcards",
    ]),
    ("ingredient", &[
        "salt", "pepper", "butter", "flour", "sugar", "milk", "garlic", "parsley", "cheese", "oil", "mustard",
        "cream", "honey", "cinnamon",
    ]),
    ("vessel", &["pan", "pot", "bowl", "oven dish", "kettle", "jug"]),
    ("subject", &[
        "history", "geography", "music", "drawing", "arithmetic", "grammar", "science", "poetry", "French",
        "swimming",
    ]),
    ("hobby", &[
        "sang in a choir", "played chess", "collected stamps", "painted the hills", "read long novels",
        "went fishing", "learned to dance", "baked bread", "walked for hours", "repaired old clocks", "kept bees",
        "wrote poems",
    ]),
    ("plant", &[
        "roses", "tulips", "beans", "potatoes", "lavender", "sunflowers", "strawberries", "ferns", "a cherry tree",
        "an apple tree", "mint",
    ]),
    ("sight", &[
        "a white lighthouse", "a field of sheep", "a long tunnel", "a ruined tower", "mountains with snow on them",
        "a wide river", "rows of little houses", "an island", "the first stars", "a valley full of fog",
    ]),
    ("sound", &[
        "a bell", "the sea", "laughter", "a piano", "an owl", "the wind in the trees", "footsteps", "a whistle",
        "children singing",
    ]),
    ("game", &["football", "cards", "tennis", "hide and seek", "chess", "marbles", "basketball"]),
    ("weekend", &[
        "last week", "a year ago", "in the holidays", "when {he} was young", "on {his} birthday", "long ago",
        "during the war", "one {season} evening",
    ]),
    ("container", &["drawer", "cupboard", "cellar", "attic", "hollow tree", "barn", "old trunk", "shed"]),
    ("saying", &[
        "Better late than never", "Every cloud has a silver lining", "Haste makes waste", "Practice makes perfect",
        "Home is best", "Look before you leap", "All is well that ends well", "The early bird catches the worm",
    ]),
    ("verb", &[
        "opened", "carried", "watched", "cleaned", "found", "admired", "described", "painted", "remembered",
        "touched", "borrowed", "forgot",
    ]),
    ("motion", &["walked", "ran", "cycled", "drove", "hurried", "wandered", "strolled", "marched"]),
];
