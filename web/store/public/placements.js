import { label } from "./catalog.js";

/**
 * The rows of the store's pages: each is one call with the name of a placement (`web/store/placements.yaml`). A title that comes with the
 * answer goes before the one here, unless a filter has made another row of it. `personal` rows say what they follow. `own`
 * ones are left out where the answer is what everybody gets in their place; `late` ones are not expected, so nothing
 * stands there before.
 */

export const forYou = { placement: "home_picks", title: "Picked for you", personal: true };
export const trending = { placement: "trending", title: "Popular right now" };
export const trendingIn = (category) => ({
  ...trending,
  filter: `category under ${JSON.stringify(category)}`,
  title: `Trending in ${label(category).toLowerCase()}`,
});
export const becauseYouViewed = { placement: "because_you_viewed", title: "Because of what you viewed", own: true, late: true };
export const recentlyViewed = { placement: "recently_viewed", title: "Recently viewed", own: true, late: true };
export const inCategory = { placement: "category_picks", title: "Picked for you", personal: true };
export const besideResults = { placement: "search_picks", title: "Picked for you", personal: true };
export const besideCart = { placement: "cart_picks", title: "Before you go", personal: true };
export const withCart = { placement: "cart_complements", title: "Goes with your cart", own: true, late: true };
export const similarTo = (productId) => ({ placement: "similar", productId, title: "Similar items", own: true });
export const boughtWith = (productId) => ({ placement: "bought_together", productId, title: "Bought together", own: true, late: true });
export const viewedBefore = (productId) => ({ ...recentlyViewed, productId });
