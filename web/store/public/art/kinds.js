/** Finds the drawing of an item by the words of its title, else of its category. */

import { APPAREL } from "./apparel.js";
import { BEAUTY } from "./beauty.js";
import { COMPUTERS } from "./computers.js";
import { ELECTRONICS } from "./electronics.js";
import { GARDEN } from "./garden.js";
import { HOME } from "./home.js";
import { HOUSEHOLD } from "./household.js";
import { KIDS } from "./kids.js";
import { SPORTS } from "./sports.js";

const DRAWINGS = { ...APPAREL, ...BEAUTY, ...COMPUTERS, ...ELECTRONICS, ...GARDEN, ...HOME, ...HOUSEHOLD, ...KIDS, ...SPORTS };
const FALLBACK = "vase";

// The first pattern that is found wins: two words before one, the special before the general.
const WORDS = [
  ["foldingPhone", /folding phone/], ["compactPhone", /compact phone/], ["earbuds", /earbud/], ["headphones", /headphone|headset/],
  ["soundbar", /soundbar/], ["turntable", /turntable|vinyl/], ["speaker", /speaker|subwoofer|acoustic|audio/], ["webcam", /webcam/],
  ["actionCamera", /action camera/], ["instantCamera", /instant camera/], ["lens", /\blens/], ["camera", /camera|photo/],
  ["dock", /docking/], ["laptopStand", /laptop stand/], ["smartphone", /smartphone/], ["phone", /phone|tablet/], ["keyboard", /keyboard|piano/], ["mouse", /\bmouse|\bmice/],
  ["curvedMonitor", /curved monitor/], ["portableMonitor", /portable monitor/], ["monitor", /monitor|\btv\b|video|projector/],
  ["notebook", /notebook/], ["ultrabook", /ultrabook/], ["convertible", /convertible/], ["laptop", /laptop|desktop|computer/],
  ["pizzaOven", /pizza oven/], ["kettle", /kettle|teapot/], ["toaster", /toaster|microwave|oven/], ["grinder", /grinder|coffee/],
  ["blender", /blender|mixer|juicer/], ["knives", /knife|knives/], ["saucepan", /saucepan|\bpan\b|cookware|hob|dinnerware/], ["stove", /camp stove/],
  ["lavender", /lavender/], ["rose", /\brose\b/], ["tree", /\btree/], ["fern", /\bfern/], ["monstera", /monstera/], ["plant", /plant/],
  ["sleepingBag", /sleeping bag/], ["carrier", /baby carrier/], ["pannier", /pannier/], ["backpack", /backpack/], ["saddle", /saddle/],
  ["helmet", /helmet/], ["bikeLight", /bike light|torch|flashlight/], ["headlamp", /headlamp/], ["tent", /\btent\b|camping/],
  ["pendant", /pendant|ceiling/], ["floorLamp", /floor lamp/], ["readingLight", /reading light/], ["deskLamp", /lamp|light(?=,|$)|lighting/],
  ["armchair", /armchair|sofa|living_room|\bchair|bedroom/], ["bookcase", /bookcase|shelf|cabinet/], ["stool", /\bstool/],
  ["sideTable", /\btable/], ["desk", /\bdesk\b|furniture/],
  ["bear", /\bbear\b|plush|doll/], ["train", /train\b/], ["puzzle", /puzzle/], ["marbleRun", /marble/], ["carSeat", /car seat/],
  ["buggy", /buggy/], ["stroller", /stroller|carriage/],
  ["storybook", /story|stories/], ["activityBook", /activity book/], ["atlas", /atlas/],
  ["shorts", /shorts|trousers|jeans|underwear/], ["vest", /\bvest/], ["jersey", /jersey/], ["rainJacket", /rain jacket/],
  ["parka", /parka|coat/], ["fleece", /fleece/], ["denimJacket", /jacket/], ["boot", /\bboot/], ["sandal", /sandal/],
  ["runningShoe", /running shoe/], ["loafer", /loafer|moccasin/], ["sneaker", /shoe|sneaker|keds/],
  ["oxfordShirt", /oxford/], ["polo", /\bpolo\b/], ["linenShirt", /linen shirt/], ["tShirt", /shirt|apparel|dress/],
  ["watch", /watch|clock/], ["dryer", /dryer/], ["cologne", /cologne/], ["mist", /\bmist\b/], ["perfume", /parfum|fragrance|perfume/],
  ["hairOil", /hair oil/], ["dropper", /serum/], ["shampoo", /shampoo/], ["conditioner", /conditioner/], ["pump", /cleanser|soap/],
  ["tube", /sunscreen|\btube/], ["jar", /cream|beauty|skin|cosmet|medicine/],
  ["pictureBook", /book|stationery|paper/], ["blocks", /building|\btoy|kids|game/],
  ["gasGrill", /gas grill/], ["smoker", /smoker/], ["charcoalGrill", /grill|barbecue/],
  ["hedgeTrimmer", /trimmer/], ["hose", /\bhose\b/], ["rake", /\brake\b/], ["secateurs", /secateur|scissors|shears/],
  ["spade", /spade|tool|drill|\bsaw\b|construction/],
  ["fridge", /refrigerator|fridge|freezer/], ["washer", /washer|dishwasher|washing|vacuum|\biron\b|appliance/],
  ["wheel", /auto|\btire|wheel|bicycle|scooter|sport|cycling/], ["bag", /\bbags?\b|wallet|umbrella|accessor/],
];

/** The name of the drawing for an item. */
export function kindOf({ title, category }) {
  for (const text of [title ?? "", category ?? ""]) {
    const found = WORDS.find(([, pattern]) => pattern.test(text.toLowerCase()));
    if (found) return found[0];
  }
  return FALLBACK;
}

/** The shapes of an item, back to front, in these paints. */
export const shapesOf = (item, paints) => DRAWINGS[kindOf(item)](paints).flat(Infinity).join("");
