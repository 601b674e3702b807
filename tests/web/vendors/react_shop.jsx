/** A shop as people build them with React and React Router, which loads the SDK as its README says. */

import { createFreshet } from "freshet-sdk";
import { useEffect } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter, createBrowserRouter, Link, RouterProvider, useRoutes } from "react-router";

const { collector, router } = document.querySelector("#root").dataset;
window.freshet = createFreshet({ collector, api: collector, pages: true, elements: true });

const Product = ({ id }) => (
  <article data-freshet-view data-freshet-product={id}>
    <h1>{id}</h1>
  </article>
);

/** React itself puts this title into the head. */
function Hoisted({ id }) {
  return (
    <>
      <title>{`Hoisted ${id}`}</title>
      <Product id={id} />
    </>
  );
}

function ByEffect({ id }) {
  useEffect(() => {
    document.title = `Effect ${id}`;
  }, [id]);
  return <Product id={id} />;
}

const routes = [
  { path: "/pages/react", element: <title>Home</title> },
  { path: "/pages/react/lamp", element: <Hoisted id="lamp" /> },
  { path: "/pages/react/sofa", element: <ByEffect id="sofa" /> },
  { path: "/pages/react/desk", element: <Hoisted id="desk" /> },
].map(({ path, element }) => ({ path, element: <Layout>{element}</Layout> }));

function Layout({ children }) {
  return (
    <>
      <nav>
        {["", "/lamp", "/sofa", "/desk"].map((path) => (
          <Link key={path} id={path.slice(1) || "home"} to={`/pages/react${path}`} data-freshet-click="menu">
            {path || "home"}
          </Link>
        ))}
      </nav>
      {children}
    </>
  );
}

const Routed = () => useRoutes(routes);
const app = {
  BrowserRouter: () => (
    <BrowserRouter>
      <Routed />
    </BrowserRouter>
  ),
  RouterProvider: () => <RouterProvider router={createBrowserRouter(routes)} />,
};

createRoot(document.querySelector("#root")).render(app[router]());
