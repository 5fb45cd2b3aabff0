//! What paragraphs are about.

/// Sentences of a topic: one opening, some of the middles, one closing.
pub(super) struct Topic {
    pub openings: &'static [&'static str],
    pub middles: &'static [&'static str],
    pub closings: &'static [&'static str],
}

/// Questions with their answers, and the fact that a paragraph must have mentioned before it is asked for it.
pub(super) const QUESTIONS: &[(&str, &str)] = &[
    ("hero", "Who is this story about? It is about {hero}."),
    ("object", "What did {hero} own? {hero} owned the {colour} {object}."),
    ("colour", "What colour was the {object}? The {object} was {colour}."),
    ("town", "Where did it happen? It happened in {town}."),
    ("friend", "Who was the friend of {hero}? The friend was {friend}."),
    ("day", "On which day did it happen? It happened on {day}."),
    ("month", "In which month was it? It was in {month}."),
    ("place", "Which building was there? There was the {place}."),
    ("fruits", "Which goods did {hero} count? {hero} counted {fruits}."),
    ("n", "How many are twice {n}? Twice {n} is {twice}."),
    ("price", "What was the price? The price was {price} coins."),
    ("dish", "What did {hero} eat? {hero} ate {dish}."),
    ("job", "What was the work of {hero}? {hero} was {a job}."),
    ("vehicle", "How did {hero} travel? {hero} travelled by {vehicle}."),
    ("animal", "Which animal was there? There was {a animal}."),
    ("ailment", "What did {hero} suffer from? {hero} suffered from {ailment}."),
    ("relative", "Which relative is in the story? It is the {relative} of {hero}."),
];

pub(super) const TOPICS: &[Topic] = &[
    Topic {
        openings: &[
            "It was a cold {day} in {month}, and the sky over {town} was {sky}.",
            "In {town} the {season} began with {weather} and {weather}.",
            "{hero} looked out of the window in {town}: the sky was {sky}.",
        ],
        middles: &[
            "The radio promised {weather} for {day}.",
            "{hero} took the {colour} {object} because of the {weather}.",
            "{moment} the {weather} stopped, and the streets near the {place} were {adjective} again.",
            "Water ran down the roof of the {place}, and {person} waited under a tree.",
            "It was {2-30} degrees outside, colder than {weekend}.",
            "The {animal} did not like the {weather} and hid in the {container}.",
            "{friend} said that such {weather} was rare in {month}.",
            "Clouds came from the {adjective} hills, and soon there was {weather} everywhere.",
        ],
        closings: &[
            "By {day} evening the {weather} was over.",
            "{hero} was {feeling}, and put the {colour} {object} by the door.",
            "\"There will be more {weather},\" said {friend}.",
        ],
    },
    Topic {
        openings: &[
            "On {day} {hero} travelled from {town} by {vehicle}.",
            "{hero} had waited all {season} for this journey with {friend}.",
            "The {vehicle} left {town} at {1-12} o'clock, and {hero} was on it.",
        ],
        middles: &[
            "From the {vehicle} {he} saw {sight}.",
            "{friend} had packed the {colour} {object} and {a thing}.",
            "A ticket cost {price} coins, so {hero} and {friend} paid for two.",
            "{moment} they heard {sound} and saw {sight}.",
            "{hero} {verb} the {colour} {object} and looked at the map.",
            "They slept in {a adjective} hotel near the {place}.",
            "The {vehicle} was {adjective}, and {person} talked about {town} all the way.",
            "{n} hours passed before they stopped.",
        ],
        closings: &[
            "When {hero} came back to {town}, {he} was {feeling} and {feeling}.",
            "It was the best journey of {his} life.",
            "The {colour} {object} came home safely too.",
        ],
    },
    Topic {
        openings: &[
            "{hero} wanted to cook {dish} for {friend}.",
            "Every {day} {hero} made {dish} in {his} {adjective} kitchen.",
            "\"Tonight we eat {dish},\" said {hero} to {his} {relative}.",
        ],
        middles: &[
            "First {he} put {ingredient} and {ingredient} into a {vessel}.",
            "{he} bought {n} {fruits} at the {place}.",
            "Then {he} added {ingredient} and stirred {adverb}.",
            "The recipe asked for {n} {fruits}, but {hero} took {twice}.",
            "It had to cook for {10-60} minutes.",
            "{friend} came with {a thing} and tasted it {adverb}.",
            "There was too much {ingredient}, so {he} added more {ingredient}.",
            "The {animal} sat near the {vessel} and waited {adverb}.",
        ],
        closings: &[
            "The {dish} was ready at {5-9} o'clock, and {friend} was {feeling}.",
            "{friend} asked for more, and {hero} was {feeling}.",
            "Nothing was left but {ingredient}.",
        ],
    },
    Topic {
        openings: &[
            "At the school in {town}, {hero} learned {subject} and {subject}.",
            "{hero} was {a job} in {town}, but on {day} {he} taught {subject}.",
            "The children of {town} had {subject} on {day}.",
        ],
        middles: &[
            "The teacher asked: \"What is twice {n}?\" \"{twice},\" answered {hero}.",
            "{friend} forgot a book and {a thing}.",
            "{hero} showed the class {a adjective} {object}.",
            "The lesson was {adjective}, and {friend} looked at the clock.",
            "There were {twice} pupils in the room, half of them {n}.",
            "{moment} they played {game} behind the {place}.",
            "{hero} wrote about the {animal} and the {colour} {object}.",
            "Nobody liked {subject} as much as {friend}.",
        ],
        closings: &[
            "When the bell rang, everybody {motion} home.",
            "\"{saying},\" said the teacher.",
            "{hero} was {feeling} about {his} marks in {subject}.",
        ],
    },
    Topic {
        openings: &[
            "On {day} there was a market in {town}.",
            "{hero} went to the market to sell {n} {fruits}.",
            "Early on {day} {hero} {motion} to the market with a basket.",
        ],
        middles: &[
            "{n} {fruits} cost {price} coins.",
            "{person} wanted to buy the {colour} {object} for {price} coins.",
            "There were {things}, {things} and {things} on every table.",
            "\"How much are the {fruits}?\" asked {friend}. \"{price} coins,\" said {hero}.",
            "{hero} bought {a thing} from {person}.",
            "{person} sold {things} beside the {place}.",
            "{moment} {hero} counted the money: {price} coins.",
            "{a adjective} {animal} ran between the tables.",
        ],
        closings: &[
            "In the end {hero} carried {n} {fruits} and the {colour} {object} home.",
            "{hero} gave the last of the {fruits} to {friend}.",
            "The market closed at {2-6} o'clock, and {town} was quiet again.",
        ],
    },
    Topic {
        openings: &[
            "{hero} lived in {town} with {his} {relative} and {a animal}.",
            "The {relative} of {hero} was {a job} in {town}.",
            "There were {n} people in the family of {hero}.",
        ],
        middles: &[
            "The {relative} {hobby} every {day}.",
            "On {day} they ate {dish} together.",
            "{hero} {hobby}, and {his} {relative} {hobby}.",
            "{his} {relative} kept the {colour} {object} in the {container}.",
            "{friend} came to visit in {month} and brought {a thing}.",
            "The {animal} was {20-40} weeks old and very {adjective}.",
            "They {motion} to the {place} when the weather was good.",
            "The house had {n} rooms and {a adjective} {container}.",
            "{weekend} the {relative} had {verb} {a adjective} {object}.",
        ],
        closings: &[
            "It was {a adjective} house, and everybody in it was {feeling}.",
            "\"{saying},\" the {relative} always said.",
            "The {animal} slept beside the {colour} {object}.",
        ],
    },
    Topic {
        openings: &[
            "{hero} lost the {colour} {object} at the {place} in {town}.",
            "Once upon a time {a job} called {hero} found {a colour} {object}.",
            "{hero} owned {a colour} {object} that had belonged to {his} {relative}.",
        ],
        middles: &[
            "{he} looked in the {container}, but the {object} was not there.",
            "{he} asked {person}, who only said: \"{saying}.\"",
            "\"Have you seen my {object}?\" asked {hero}. \"Is it {colour}?\" asked {friend}.",
            "{friend} thought that the {animal} had taken it.",
            "{moment} {hero} heard {sound} behind the {place}.",
            "They searched for {n} days, and {he} was {feeling}.",
            "{person} remembered {a colour} {object} near the {place}.",
            "{hero} {motion} {adverb} through {town}.",
        ],
        closings: &[
            "At last the {colour} {object} was found at the {place}.",
            "{hero} thanked {friend} with {a thing}.",
            "Since then the {object} has stayed in the {container}.",
        ],
    },
    Topic {
        openings: &[
            "In {month} {hero} had {ailment} and stayed at home in {town}.",
            "On {day} {hero} woke up with {ailment}.",
            "\"I have {ailment},\" said {hero} to {his} {relative}.",
        ],
        middles: &[
            "{his} {relative} brought {remedy}.",
            "The doctor in {town} told {him} to rest for {n} days.",
            "{friend} visited and brought {n} {fruits}.",
            "{hero} could not go to the {place} and was {feeling}.",
            "{he} ate {dish} and {verb} {a thing}.",
            "The {animal} lay at the end of the bed.",
            "\"What helps against {ailment}?\" \"{remedy},\" said the {relative}.",
            "{friend} once had {ailment}, {weekend}.",
        ],
        closings: &[
            "After {n} days {hero} was well again.",
            "On {day} {he} felt better and {motion} to the {place}.",
            "The best medicine was {remedy}.",
        ],
    },
    Topic {
        openings: &[
            "Behind the house in {town}, {hero} had {a adjective} garden.",
            "In {season} {hero} planted {plant} and {plant}.",
            "{hero} bought a farm near {town} and kept {n} animals.",
        ],
        middles: &[
            "The {animal} ate the {plant}.",
            "{friend} helped {him} with the {plant} on {day}.",
            "{he} picked {n} {fruits} in the morning and as many in the evening, {twice} in all.",
            "The {colour} {object} stood between the {plant}.",
            "There had been much {weather}, and the {plant} grew {adverb}.",
            "{person} stopped at the fence and {verb} the {plant}.",
            "{hero} drew water {n} times a day.",
            "A bird sang {adverb} on the {colour} {object}.",
        ],
        closings: &[
            "By {month} there were {fruits} for everybody.",
            "{hero} was {feeling} when {friend} praised the {plant}.",
            "Nobody in {town} had finer {plant}.",
        ],
    },
    Topic {
        openings: &[
            "On {day} the people of {town} played {game} at the {place}.",
            "{hero} and {friend} played {game} every {day}.",
            "There was a concert at the {place} in {town}, and {hero} was invited.",
        ],
        middles: &[
            "{hero} won {n} times and {friend} {1-9} times.",
            "{twice} people came, twice as many as last year.",
            "{person} brought {things} and {a thing}.",
            "{moment} they all sang, and {person} danced {adverb}.",
            "{friend} wore {a adjective} hat and {hero} {a adjective} coat.",
            "A band played, and from far away one heard {sound}.",
            "{hero} {hobby}, but never before so many people.",
            "Everyone ate {dish} and was {feeling}.",
        ],
        closings: &[
            "They met again on {day}.",
            "It ended at {8-11} o'clock, and {hero} {motion} home {adverb}.",
            "\"Next {season} we come again,\" said {friend}.",
        ],
    },
];
