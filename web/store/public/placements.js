/**
 * The rows of the store's pages: each is one call with the name of a placement. A title that comes with the answer goes
 * before the one here. `personal` rows say what they follow.
 */

export const forYou = { placement: "home", title: "Picked for you", personal: true };
export const popular = { placement: "popular", variant: "popular", title: "Popular right now" };
export const inCategory = { placement: "category", title: "Picked for you", personal: true };
export const besideResults = { placement: "search", title: "Picked for you", personal: true };
export const besideCart = { placement: "cart", title: "Before you go" };
export const similarTo = (productId) => ({ placement: "product", productId, title: "You may also like" });
